//! Both HTTP ports: they answer from the first moment on, and get their full routes when the engine is ready.

use std::io;

use axum::Router;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::auth::Authority;
use crate::config::Config;
use crate::http::{self, Operator, Routes};

/// The running ports.
#[derive(Debug)]
pub(super) struct HttpPorts {
    public: Routes,
    operator: Routes,
    servers: Vec<JoinHandle<()>>,
    stop: watch::Sender<bool>,
}

impl HttpPorts {
    /// Starts both: the public one refuses, the operator's tells what `operator` knows.
    ///
    /// # Errors
    /// A listener cannot be waited on.
    pub(super) fn start(
        public: std::net::TcpListener,
        operator_listener: std::net::TcpListener,
        operator: Operator,
        authority: &Authority,
        config: &Config,
    ) -> io::Result<Self> {
        let (stop, stopping) = watch::channel(false);
        let serve = |listener: std::net::TcpListener, routes: &Routes| {
            let listener = TcpListener::from_std(listener)?;
            let mut stopping = stopping.clone();
            let stop = async move { drop(stopping.wait_for(|stopping| *stopping).await) };
            io::Result::Ok(tokio::spawn(http::serve(listener, routes.clone(), config.http.bounds(), stop)))
        };
        let public_routes = Routes::until_ready(http::unready_router(authority.clone(), &config.http));
        let operator_routes = Routes::until_ready(http::operator_router(operator, authority.clone(), &config.http));
        let servers = vec![serve(public, &public_routes)?, serve(operator_listener, &operator_routes)?];
        Ok(Self { public: public_routes, operator: operator_routes, servers, stop })
    }

    /// The engine is ready. The operator's port hears of it last: whoever sees there that it is finds the other open.
    pub(super) fn open(&self, public: Router, operator: Router) {
        self.public.open(public);
        self.operator.open(operator);
    }

    /// Whether one gave up.
    pub(super) fn has_failed(&self) -> bool {
        self.servers.iter().any(JoinHandle::is_finished)
    }

    /// Takes no more connections, and returns when those there are have ended.
    pub(super) async fn stop(self) {
        self.stop.send_replace(true);
        for server in self.servers {
            if let Err(error) = server.await {
                tracing::error!(%error, "an HTTP port panicked");
            }
        }
    }
}
