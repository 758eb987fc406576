//! The crate `fred`: data over slots, a transaction, a script, a stream, blocking, pub/sub.

use std::collections::HashMap;

use fred::prelude::{
    Builder, Client, ClientLike as _, Config, EventInterface as _, KeysInterface as _,
    ListInterface as _, LuaInterface as _, PubsubInterface as _, ServerConfig,
    StreamsInterface as _, TransactionInterface as _,
};
use fred::types::RespVersion;

pub async fn run(port: u16) {
    for (version, p) in [(RespVersion::RESP2, "fred2"), (RespVersion::RESP3, "fred3")] {
        let client = connect(port, version.clone()).await;
        data(&client, p).await;
        queue(&client, &connect(port, version.clone()).await, p).await;
        pubsub(&client, &connect(port, version).await, p).await;
        println!("ok {p}");
    }
}

async fn connect(port: u16, version: RespVersion) -> Client {
    let server = ServerConfig::new_centralized("127.0.0.1", port);
    let config = Config { server, version, ..Config::default() };
    let client = Builder::from_config(config).build().unwrap();
    client.init().await.unwrap();
    client
}

async fn data(client: &Client, p: &str) {
    let pairs: Vec<(String, i64)> = (0..50).map(|n| (format!("{p}:{n}"), n)).collect();
    let names: Vec<String> = pairs.iter().map(|(name, _)| name.clone()).collect();
    let () = client.mset(pairs).await.unwrap();
    let values: Vec<i64> = client.mget(names).await.unwrap();
    assert_eq!(values, (0..50).collect::<Vec<_>>());

    let transaction = client.multi();
    let () = transaction.set(format!("{p}:a"), 1, None, None, false).await.unwrap();
    let () = transaction.incr(format!("{p}:a")).await.unwrap();
    let () = transaction.incr(format!("{p}:b")).await.unwrap();
    let answers: (String, i64, i64) = transaction.exec(true).await.unwrap();
    assert_eq!(answers, ("OK".to_owned(), 2, 1));

    let script = "return redis.call('INCRBY', KEYS[1], ARGV[1])";
    let sum: i64 = client.eval(script, format!("{p}:s"), 7).await.unwrap();
    assert_eq!(sum, 7);

    let stream = format!("{p}:events");
    let id: String =
        client.xadd(&stream, false, None::<()>, "*", ("action", "click")).await.unwrap();
    let entries: Vec<(String, HashMap<String, String>)> =
        client.xrange_values(&stream, "-", "+", None).await.unwrap();
    let fields = HashMap::from([("action".to_owned(), "click".to_owned())]);
    assert_eq!(entries, [(id, fields)]);
}

async fn queue(client: &Client, other: &Client, p: &str) {
    let list = format!("{p}:q");
    let waiting = {
        let (list, other) = (list.clone(), other.clone());
        tokio::spawn(async move { other.blpop::<(String, String), _>(list, 20.0).await })
    };
    let () = client.rpush(&list, "job").await.unwrap();
    assert_eq!(waiting.await.unwrap().unwrap(), (list, "job".to_owned()));
}

async fn pubsub(client: &Client, listener: &Client, p: &str) {
    let channel = format!("{p}:news");
    let mut messages = listener.message_rx();
    listener.subscribe(&channel).await.unwrap();
    // In RESP3 fred does not wait for the server's word that it subscribes.
    while client.publish::<i64, _, _>(&channel, "hello").await.unwrap() == 0 {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    assert_eq!(messages.recv().await.unwrap().value.as_str().unwrap(), "hello");
}
