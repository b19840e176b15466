#![allow(missing_docs)]
//! tmp
use super::view::View; use std::sync::Arc; use std::future::Future;
pub trait Source: Send + Sync + 'static { fn view(&self) -> View; fn rejected(&self) -> Vec<crate::intake::Sample>; fn is_serving(&self) -> bool; }
pub fn router(_s: Arc<dyn Source>) -> axum::Router { axum::Router::new() }
pub async fn serve(_l: tokio::net::TcpListener, _r: axum::Router, s: impl Future<Output=()>) { s.await }
