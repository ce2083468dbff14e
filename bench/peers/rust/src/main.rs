//! Peer of the benchmark: the gateway's session and stream endpoints as somebody would write them in Rust who wants
//! them fast, on axum and tokio, serde_json that borrows from the body, and librdkafka as an idempotent producer.
//!
//! 200 means that every event of the request was acknowledged by all in-sync replicas. There is no queue but
//! librdkafka's own, which is bounded; what it does not deliver within 10 s is answered 503.

mod batch;
mod event;
mod http;
mod kafka;
mod sessions;
mod timestamp;

use std::env;
use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use axum::serve::ListenerExt;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

use crate::http::Gateway;
use crate::kafka::Kafka;

// It serves librdkafka as well, whose messages are allocated on one thread and freed on another.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// How long what is queued may still be delivered after SIGTERM.
const FLUSH_MAX: Duration = Duration::from_secs(3);

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let listen = setting("PEER_LISTEN")?;
    let gateway = Arc::new(Gateway {
        key: setting("PEER_KEY")?,
        business: setting("PEER_BUSINESS")?,
        kafka: Kafka::connect(&setting("PEER_KAFKA")?, &setting("PEER_TOPIC")?)?,
        sessions: Default::default(),
    });
    let mut terminate = signal(SignalKind::terminate())?;
    let listener = TcpListener::bind(&listen).await?.tap_io(|stream| {
        // Only latency suffers when it can not be set.
        let _ = stream.set_nodelay(true);
    });
    tokio::select! {
        served = axum::serve(listener, http::router(Arc::clone(&gateway))).into_future() => served?,
        _ = terminate.recv() => {}
    }
    gateway.kafka.flush(FLUSH_MAX)?;
    Ok(())
}

fn setting(name: &str) -> Result<String, String> {
    env::var(name).map_err(|_| format!("{name} is not set"))
}
