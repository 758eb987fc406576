//! One complete reply: finding its end, reading it, writing it.
