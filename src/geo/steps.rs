//! Points between two steps of a writer or a search, where a test lets something else happen. Nothing outside tests.

#[cfg(test)]
pub(super) use points::interleaved;
pub(super) use points::{step, whole};

#[cfg(not(test))]
mod points {
    /// Between two steps.
    #[inline(always)]
    pub(in crate::geo) fn step() {}

    /// Runs what nobody can look into: whoever came to it would wait for its end.
    #[inline(always)]
    pub(in crate::geo) fn whole<T>(run: impl FnOnce() -> T) -> T {
        run()
    }
}

#[cfg(test)]
mod points {
    use std::cell::{Cell, RefCell};

    type Meanwhile = Box<dyn FnOnce()>;

    thread_local! {
        /// What happens after so many further steps.
        static PLAN: RefCell<Vec<(usize, Meanwhile)>> = RefCell::default();
        static STEPS: Cell<usize> = const { Cell::new(0) };
        static IS_WHOLE: Cell<bool> = const { Cell::new(false) };
    }

    pub(in crate::geo) fn step() {
        if IS_WHOLE.get() {
            return;
        }
        STEPS.set(STEPS.get() + 1);
        let due = PLAN.with_borrow_mut(|plan| plan.pop_if(|(at, _)| *at < STEPS.get()));
        if let Some((_, meanwhile)) = due {
            // Its own steps are not counted, lest the next of the plan happen within it.
            IS_WHOLE.set(true);
            meanwhile();
            IS_WHOLE.set(false);
        }
    }

    pub(in crate::geo) fn whole<T>(run: impl FnOnce() -> T) -> T {
        let before = IS_WHOLE.replace(true);
        let result = run();
        IS_WHOLE.set(before);
        result
    }

    /// Runs with these happening meanwhile, each at a step, in the order of the steps. Tells how many steps there were.
    pub(in crate::geo) fn interleaved<T>(mut plan: Vec<(usize, Meanwhile)>, run: impl FnOnce() -> T) -> (T, usize) {
        plan.reverse();
        PLAN.set(plan);
        STEPS.set(0);
        let result = run();
        PLAN.take();
        (result, STEPS.get())
    }
}
