//! The Rust clients `redis` and `fred` in their single-server form, against the server at `REDIS_PORT`. The first
//! argument chooses one of them.

mod fred_client;
mod redis_client;

use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(60);

#[tokio::main]
async fn main() {
    let port: u16 = std::env::var("REDIS_PORT").unwrap().parse().unwrap();
    let run = async {
        match std::env::args().nth(1).as_deref() {
            Some("redis") => redis_client::run(port).await,
            Some("fred") => fred_client::run(port).await,
            other => panic!("no client {other:?}"),
        }
    };
    tokio::time::timeout(PATIENCE, run).await.expect("it hangs");
    println!("ok");
}
