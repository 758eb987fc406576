//! What the load calls its keys and values. Every value names its key, so that a reply for another is recognised.

/// A key with one writer.
pub(crate) fn register(number: u32) -> String {
    format!("r:{number}")
}

/// What a register's writer writes: the register, and the number of the write.
pub(crate) fn register_value(register: u32, number: u64) -> String {
    format!("{register}#{number}")
}

/// Register and number of a value.
pub(crate) fn value(value: &[u8]) -> Option<(u32, u64)> {
    let (register, number) = std::str::from_utf8(value).ok()?.split_once('#')?;
    Some((register.parse().ok()?, number.parse().ok()?))
}

/// A key that many count up.
pub(crate) fn counter(number: u32) -> String {
    format!("c:{number}")
}

/// Two counters in one slot that only go up together.
pub(crate) fn pair(number: u32) -> [String; 2] {
    ["a", "b"].map(|side| format!("{{p:{number}}}{side}"))
}

pub(crate) fn queue_key(number: u32) -> String {
    format!("q:{number}")
}

/// Number of the queue with this key.
pub(crate) fn queue(key: &str) -> Option<u32> {
    key.strip_prefix("q:")?.parse().ok()
}

/// What is pushed to a queue: the queue, and what is pushed only once.
pub(crate) fn queue_element(queue: u32, element: u64) -> String {
    format!("{queue}|{element:x}")
}

/// Queue and element.
pub(crate) fn element(value: &[u8]) -> Option<(u32, u64)> {
    let (queue, element) = std::str::from_utf8(value).ok()?.split_once('|')?;
    Some((queue.parse().ok()?, u64::from_str_radix(element, 16).ok()?))
}

pub(crate) fn topic(number: u32) -> String {
    format!("t:{number}")
}

/// What is published: the topic, the publisher and the number of its message.
pub(crate) fn message(topic: u32, publisher: u32, number: u64) -> String {
    format!("{topic}/{publisher}/{number}")
}

/// Publisher and number, if the message is one of this topic.
pub(crate) fn heard(topic: &str, message: &[u8]) -> Option<(u32, u64)> {
    let mut parts = std::str::from_utf8(message).ok()?.split('/');
    let of_topic = parts.next()? == topic.strip_prefix("t:")?;
    let (publisher, number) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
    of_topic.then_some((publisher, number))
}
