//! A fake of S3 in memory: as much of its protocol as backups need, with no look at signatures.

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

/// Objects by their keys. The thread that serves them ends with the test binary.
pub(crate) struct Bucket {
    address: SocketAddr,
    shelves: Arc<Mutex<Shelves>>,
}

#[derive(Default)]
struct Shelves {
    objects: BTreeMap<String, Vec<u8>>,
    /// Pieces of objects that are not whole yet, by the object's key.
    pieces: BTreeMap<String, BTreeMap<usize, Vec<u8>>>,
    /// How many objects came in pieces.
    assembled: usize,
}

struct Request {
    method: String,
    /// Without the bucket.
    key: String,
    query: BTreeMap<String, String>,
    body: Vec<u8>,
}

impl Bucket {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (address, shelves) = (listener.local_addr().unwrap(), Arc::<Mutex<Shelves>>::default());
        let shared = shelves.clone();
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let shelves = shared.clone();
                thread::spawn(move || serve(stream, &shelves));
            }
        });
        Self { address, shelves }
    }

    /// What a client needs to know, as the environment has it.
    pub(crate) fn variables(&self) -> [(&'static str, String); 5] {
        [
            ("AWS_ENDPOINT", format!("http://{}", self.address)),
            ("AWS_ALLOW_HTTP", "true".to_owned()),
            ("AWS_ACCESS_KEY_ID", "key".to_owned()),
            ("AWS_SECRET_ACCESS_KEY", "secret".to_owned()),
            ("AWS_REGION", "eu-central-1".to_owned()),
        ]
    }

    pub(crate) fn keys(&self) -> Vec<String> {
        self.shelves.lock().unwrap().objects.keys().cloned().collect()
    }

    pub(crate) fn assembled(&self) -> usize {
        self.shelves.lock().unwrap().assembled
    }

    /// Changes one byte in the middle of an object.
    pub(crate) fn damage(&self, key: &str) {
        let mut shelves = self.shelves.lock().unwrap();
        let object = shelves.objects.get_mut(key).unwrap();
        let middle = object.len() / 2;
        object[middle] ^= 1;
    }
}

fn serve(stream: TcpStream, shelves: &Mutex<Shelves>) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut stream = stream;
    while let Ok(Some(request)) = read(&mut reader) {
        let (status, body) = shelves.lock().unwrap().answer(&request);
        let head = format!(
            "HTTP/1.1 {status} -\r\nETag: \"e\"\r\nLast-Modified: Tue, 24 Nov 2026 12:00:00 GMT\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        let body = if request.method == "HEAD" { Vec::new() } else { body };
        if stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&body)).is_err() {
            return;
        }
    }
}

fn read(reader: &mut BufReader<TcpStream>) -> io::Result<Option<Request>> {
    let mut line = String::new();
    if reader.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let mut words = line.split(' ').map(str::to_owned);
    let (method, place) = (words.next().unwrap(), words.next().unwrap());
    let mut length = 0;
    loop {
        let mut header = String::new();
        reader.read_line(&mut header)?;
        let Some((name, value)) = header.trim().split_once(": ") else { break };
        if name.eq_ignore_ascii_case("content-length") {
            length = value.parse().unwrap();
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let (path, query) = place.split_once('?').unwrap_or((&place, ""));
    let key = path.trim_start_matches('/').split_once('/').map_or("", |(_, key)| key).to_owned();
    let pairs = query.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    let decoded = |text: &str| text.replace("%2F", "/");
    let query = pairs.map(|(name, value)| (name.to_owned(), decoded(value))).collect();
    Ok(Some(Request { method, key, query, body }))
}

impl Shelves {
    fn answer(&mut self, request: &Request) -> (u16, Vec<u8>) {
        let Request { method, key, query, body } = request;
        let has = |name: &str| query.contains_key(name);
        match method.as_str() {
            "GET" if has("list-type") => (200, self.list(&query["prefix"])),
            "GET" | "HEAD" => match self.objects.get(key) {
                Some(object) => (200, object.clone()),
                None => (404, b"<Error><Code>NoSuchKey</Code></Error>".to_vec()),
            },
            "POST" if has("uploads") => {
                self.pieces.insert(key.clone(), BTreeMap::new());
                let answer = "<InitiateMultipartUploadResult><UploadId>u</UploadId></InitiateMultipartUploadResult>";
                (200, answer.into())
            }
            "PUT" if has("partNumber") => {
                let number = query["partNumber"].parse().unwrap();
                self.pieces.get_mut(key).unwrap().insert(number, body.clone());
                (200, Vec::new())
            }
            "POST" if has("uploadId") => {
                let pieces = self.pieces.remove(key).unwrap();
                self.objects.insert(key.clone(), pieces.into_values().flatten().collect());
                self.assembled += 1;
                let answer =
                    "<CompleteMultipartUploadResult><ETag>e</ETag></CompleteMultipartUploadResult>";
                (200, answer.into())
            }
            "PUT" => {
                self.objects.insert(key.clone(), body.clone());
                (200, Vec::new())
            }
            "POST" if has("delete") => (200, self.delete(&String::from_utf8_lossy(body))),
            "DELETE" => {
                self.objects.remove(key);
                (204, Vec::new())
            }
            _ => panic!("{method} {key} {query:?}"),
        }
    }

    fn list(&self, prefix: &str) -> Vec<u8> {
        let below = self.objects.keys().filter_map(|key| key.strip_prefix(prefix));
        let mut folders: Vec<&str> =
            below.filter_map(|rest| rest.split_once('/')).map(|(folder, _)| folder).collect();
        folders.dedup();
        let folders = folders.iter().map(|folder| {
            format!("<CommonPrefixes><Prefix>{prefix}{folder}/</Prefix></CommonPrefixes>")
        });
        let folders: String = folders.collect();
        format!("<ListBucketResult><IsTruncated>false</IsTruncated>{folders}</ListBucketResult>")
            .into()
    }

    fn delete(&mut self, body: &str) -> Vec<u8> {
        let keys = body.split("<Key>").skip(1).filter_map(|rest| rest.split("</Key>").next());
        let mut answer = "<DeleteResult>".to_owned();
        for key in keys {
            self.objects.remove(key);
            answer += &format!("<Deleted><Key>{key}</Key></Deleted>");
        }
        (answer + "</DeleteResult>").into()
    }
}
