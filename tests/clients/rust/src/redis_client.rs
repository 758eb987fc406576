//! The crate `redis`: data over slots, a transaction, a script, a scan, blocking, pub/sub.

use futures_util::StreamExt as _;
use redis::AsyncCommands as _;

pub async fn run(port: u16) {
    for protocol in ["resp2", "resp3"] {
        let url = format!("redis://127.0.0.1:{port}/?protocol={protocol}");
        let client = redis::Client::open(url).unwrap();
        data(&client, &format!("rs-{protocol}")).await;
        queue(&client, &format!("rs-{protocol}")).await;
        pubsub(&client, &format!("rs-{protocol}")).await;
        println!("ok {protocol}");
    }
}

async fn data(client: &redis::Client, p: &str) {
    let mut one = client.get_multiplexed_async_connection().await.unwrap();
    let pairs: Vec<(String, usize)> = (0..50).map(|n| (format!("{p}:{n}"), n)).collect();
    let () = one.mset(&pairs).await.unwrap();
    let names: Vec<&String> = pairs.iter().map(|(name, _)| name).collect();
    let values: Vec<usize> = one.mget(&names).await.unwrap();
    assert_eq!(values, (0..50).collect::<Vec<_>>());

    let (a, b) = (format!("{p}:a"), format!("{p}:b"));
    let mut pipe = redis::pipe();
    pipe.atomic().set(&a, 1).ignore().set(&b, 2).ignore().incr(&a, 5);
    assert_eq!(pipe.query_async::<(i32,)>(&mut one).await.unwrap(), (6,));

    let script = redis::Script::new("return redis.call('INCRBY', KEYS[1], ARGV[1])");
    let sum: i32 = script.key(format!("{p}:script")).arg(7).invoke_async(&mut one).await.unwrap();
    assert_eq!(sum, 7);

    let mut found = Vec::new();
    let mut scan = one.scan_match::<_, String>(format!("{p}:?")).await.unwrap();
    while let Some(key) = scan.next_item().await {
        found.push(key.unwrap());
    }
    found.sort();
    let mut expected: Vec<String> = (0..10).map(|n| format!("{p}:{n}")).collect();
    expected.extend([a, b]);
    assert_eq!(found, expected);
}

async fn queue(client: &redis::Client, p: &str) {
    let mut other = client.get_multiplexed_async_connection().await.unwrap();
    let (empty, queue) = (format!("{p}:q1"), format!("{p}:q2"));
    let lists = [empty, queue.clone()];
    let waiter =
        tokio::spawn(async move { other.blpop::<_, (String, String)>(&lists, 20.0).await });
    let mut one = client.get_multiplexed_async_connection().await.unwrap();
    let () = one.rpush(&queue, "job").await.unwrap();
    assert_eq!(waiter.await.unwrap().unwrap(), (queue, "job".to_owned()));
}

async fn pubsub(client: &redis::Client, p: &str) {
    let channel = format!("{p}:news");
    let mut listener = client.get_async_pubsub().await.unwrap();
    listener.subscribe(&channel).await.unwrap();
    let mut one = client.get_multiplexed_async_connection().await.unwrap();
    assert_eq!(one.publish::<_, _, i32>(&channel, "hello").await.unwrap(), 1);
    let message = listener.on_message().next().await.unwrap();
    assert_eq!(message.get_payload::<String>().unwrap(), "hello");
}
