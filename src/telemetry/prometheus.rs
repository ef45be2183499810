//! Numbers as Prometheus reads them: the text exposition format 0.0.4.
//!
//! <https://prometheus.io/docs/instrumenting/exposition_formats/>

use std::fmt::{self, Write};

/// The media type of what [`Exposition::finish`] returns.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Something that writes its families at each scrape. It is called on a request's task and must not block.
pub type Collect = Box<dyn Fn(&mut Exposition) + Send + Sync>;

/// What a family's numbers are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only grows, but for a restart.
    Counter,
    /// Goes up and down.
    Gauge,
}

/// A number, printed without loss: counters beyond 2^53 stay exact.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value {
    /// A whole number.
    Integer(u64),
    /// Any other; NaN and the infinities have their own spelling.
    Float(f64),
}

impl From<u64> for Value {
    fn from(value: u64) -> Self {
        Self::Integer(value)
    }
}

impl From<f64> for Value {
    fn from(value: f64) -> Self {
        Self::Float(value)
    }
}

impl fmt::Display for Value {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Integer(value) => value.fmt(formatter),
            Self::Float(value) if value.is_nan() => formatter.write_str("NaN"),
            Self::Float(f64::INFINITY) => formatter.write_str("+Inf"),
            Self::Float(f64::NEG_INFINITY) => formatter.write_str("-Inf"),
            Self::Float(value) => value.fmt(formatter),
        }
    }
}

/// A page of metrics in the making.
#[derive(Debug, Default)]
pub struct Exposition {
    text: String,
}

impl Exposition {
    /// Opens a family; its samples follow through what is returned. A family is opened once on a page.
    pub fn family(&mut self, name: &'static str, help: &str, kind: Kind) -> Family<'_> {
        debug_assert!(is_name(name), "{name} is not a metric name");
        debug_assert!(kind != Kind::Counter || name.ends_with("_total"), "{name} counts, so it ends in _total");
        let kind = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
        };
        self.text.push_str("# HELP ");
        self.text.push_str(name);
        self.text.push(' ');
        push_escaped(&mut self.text, help, false);
        self.text.push_str("\n# TYPE ");
        self.text.push_str(name);
        self.text.push(' ');
        self.text.push_str(kind);
        self.text.push('\n');
        Family { name, text: &mut self.text }
    }

    /// The whole page.
    pub fn finish(self) -> String {
        self.text
    }
}

/// A family whose samples are being written.
#[derive(Debug)]
pub struct Family<'a> {
    name: &'static str,
    text: &'a mut String,
}

impl Family<'_> {
    /// Writes one sample. Label values may be any text; no two samples of a family have the same labels.
    pub fn sample(&mut self, labels: &[(&'static str, &str)], value: impl Into<Value>) -> &mut Self {
        self.text.push_str(self.name);
        for (index, (label, text)) in labels.iter().enumerate() {
            debug_assert!(is_name(label) && !label.contains(':'), "{label} is not a label name");
            self.text.push(if index == 0 { '{' } else { ',' });
            self.text.push_str(label);
            self.text.push_str("=\"");
            push_escaped(self.text, text, true);
            self.text.push('"');
        }
        if !labels.is_empty() {
            self.text.push('}');
        }
        writeln!(self.text, " {}", value.into()).expect("writing to a String does not fail");
        self
    }
}

/// Backslash and line feed are escaped everywhere, the quote in label values only.
fn push_escaped(text: &mut String, raw: &str, is_quoted: bool) {
    for character in raw.chars() {
        match character {
            '\\' => text.push_str("\\\\"),
            '\n' => text.push_str("\\n"),
            '"' if is_quoted => text.push_str("\\\""),
            other => text.push(other),
        }
    }
}

/// `[a-zA-Z_:][a-zA-Z0-9_:]*`
fn is_name(name: &str) -> bool {
    !name.starts_with(|first: char| first.is_ascii_digit())
        && !name.is_empty()
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b':'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_families_as_the_format_asks() {
        let mut page = Exposition::default();
        page.family("rhumb_fixes_stored_total", "Fixes stored.", Kind::Counter)
            .sample(&[("tenant", "acme")], u64::MAX)
            .sample(&[("tenant", "b"), ("reason", "past")], 0);
        page.family("rhumb_up", "Lines\nand \\ and \"quotes\".", Kind::Gauge).sample(&[], 0.5);
        assert_eq!(
            page.finish(),
            "# HELP rhumb_fixes_stored_total Fixes stored.\n\
             # TYPE rhumb_fixes_stored_total counter\n\
             rhumb_fixes_stored_total{tenant=\"acme\"} 18446744073709551615\n\
             rhumb_fixes_stored_total{tenant=\"b\",reason=\"past\"} 0\n\
             # HELP rhumb_up Lines\\nand \\\\ and \"quotes\".\n\
             # TYPE rhumb_up gauge\n\
             rhumb_up 0.5\n"
        );
    }

    #[test]
    fn escapes_label_values() {
        let mut page = Exposition::default();
        page.family("x", "", Kind::Gauge).sample(&[("path", "C:\\a \"b\"\nä")], 1);
        assert!(page.finish().ends_with("x{path=\"C:\\\\a \\\"b\\\"\\nä\"} 1\n"));
    }

    #[test]
    fn spells_what_is_not_a_number() {
        let spelled = |value: f64| Value::from(value).to_string();
        assert_eq!([f64::NAN, f64::INFINITY, f64::NEG_INFINITY].map(spelled), ["NaN", "+Inf", "-Inf"]);
        assert_eq!(spelled(1e-9), "0.000000001");
    }
}
