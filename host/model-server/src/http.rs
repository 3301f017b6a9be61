//! Reads one HTTP/1.1 request from a connection, within bounds. It must not know what the request is for.

use crate::limits::{BODY_BYTES, HEAD_BYTES};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// A request as it came.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Request {
    pub(crate) method: String,
    /// The path with its query.
    pub(crate) target: String,
    /// Names in lower case, in the order of the request.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Request {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn path(&self) -> &str {
        self.target.split_once('?').map_or(self.target.as_str(), |(path, _)| path)
    }

    /// The value of a parameter of the query, as it was written.
    pub(crate) fn parameter(&self, name: &str) -> Option<&str> {
        let (_, query) = self.target.split_once('?')?;
        query
            .split('&')
            .filter_map(|pair| pair.split_once('='))
            .find(|(found, _)| *found == name)
            .map(|(_, value)| value)
    }
}

/// Why there is no request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bad {
    /// The client went away.
    Gone,
    Malformed(&'static str),
    HeadTooLarge,
    BodyTooLarge,
}

impl Bad {
    /// The status that says so; none for a client that has gone.
    pub(crate) fn status(self) -> Option<(u16, &'static str)> {
        match self {
            Self::Gone => None,
            Self::Malformed(what) => Some((400, what)),
            Self::HeadTooLarge => Some((431, "the head of the request is larger than 64 KiB")),
            Self::BodyTooLarge => Some((413, "the body of the request is larger than 64 MiB")),
        }
    }
}

/// Reads a request. What follows it on the connection is not read: every answer closes.
pub(crate) async fn read<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut S) -> Result<Request, Bad> {
    let mut reader = Reader { stream, buffer: Vec::new(), at: 0 };
    let mut left = HEAD_BYTES;
    let first = reader.line(&mut left, Bad::HeadTooLarge).await?;
    let (method, target) = request_line(&first)?;
    let mut headers = Vec::new();
    loop {
        let line = reader.line(&mut left, Bad::HeadTooLarge).await?;
        if line.is_empty() {
            break;
        }
        headers.push(header(&line)?);
    }
    let mut request = Request { method, target, headers, body: Vec::new() };
    if request.header("expect").is_some_and(|value| value.eq_ignore_ascii_case("100-continue")) {
        reader.stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await.map_err(|_| Bad::Gone)?;
    }
    request.body = match length(&request)? {
        Length::Known(length) => reader.exactly(length).await?,
        Length::Chunked => reader.chunks().await?,
    };
    Ok(request)
}

enum Length {
    Known(usize),
    Chunked,
}

fn length(request: &Request) -> Result<Length, Bad> {
    let mut lengths = request.headers.iter().filter(|(name, _)| name == "content-length").map(|(_, value)| value);
    let first = lengths.next();
    if lengths.any(|other| Some(other) != first) {
        return Err(Bad::Malformed("two different content-length headers"));
    }
    match (request.header("transfer-encoding"), first) {
        (Some(_), Some(_)) => Err(Bad::Malformed("both content-length and transfer-encoding")),
        (Some(coding), None) if coding.eq_ignore_ascii_case("chunked") => Ok(Length::Chunked),
        (Some(_), None) => Err(Bad::Malformed("a transfer-encoding other than chunked")),
        (None, None) => Ok(Length::Known(0)),
        (None, Some(digits)) if !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()) => {
            digits.parse().map(Length::Known).map_err(|_| Bad::BodyTooLarge)
        }
        (None, Some(_)) => Err(Bad::Malformed("content-length is no number")),
    }
}

fn request_line(line: &str) -> Result<(String, String), Bad> {
    let mut words = line.split(' ');
    let (Some(method), Some(target), Some(version), None) = (words.next(), words.next(), words.next(), words.next())
    else {
        return Err(Bad::Malformed("the request line is not `METHOD target HTTP/1.1`"));
    };
    if method.is_empty() || !method.bytes().all(|byte| byte.is_ascii_alphabetic()) {
        return Err(Bad::Malformed("the method is no word"));
    }
    if !target.starts_with('/') || target.contains(char::is_control) {
        return Err(Bad::Malformed("the target is no path"));
    }
    if version != "HTTP/1.1" && version != "HTTP/1.0" {
        return Err(Bad::Malformed("the version is not HTTP/1.1"));
    }
    Ok((method.to_ascii_uppercase(), target.to_owned()))
}

fn header(line: &str) -> Result<(String, String), Bad> {
    let (name, value) = line.split_once(':').ok_or(Bad::Malformed("a header without a colon"))?;
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if name.is_empty() || !name.bytes().all(is_token) {
        return Err(Bad::Malformed("the name of a header is no token"));
    }
    Ok((name.to_ascii_lowercase(), value.trim().to_owned()))
}

/// Bytes of a connection that were read ahead.
struct Reader<'a, S> {
    stream: &'a mut S,
    buffer: Vec<u8>,
    /// What of the buffer was taken already.
    at: usize,
}

impl<S: AsyncRead + Unpin> Reader<'_, S> {
    async fn more(&mut self) -> Result<(), Bad> {
        if self.at == self.buffer.len() {
            self.buffer.clear();
            self.at = 0;
        }
        let count = self.stream.read_buf(&mut self.buffer).await.map_err(|_| Bad::Gone)?;
        if count == 0 { Err(Bad::Gone) } else { Ok(()) }
    }

    fn ahead(&self) -> &[u8] {
        self.buffer.get(self.at..).unwrap_or_default()
    }

    /// A line without its end, taken from what is `left` of a bound.
    async fn line(&mut self, left: &mut usize, beyond: Bad) -> Result<String, Bad> {
        let mut searched = 0;
        loop {
            let ahead = self.ahead();
            let found = ahead.get(searched..).unwrap_or_default().iter().position(|byte| *byte == b'\n');
            let taken = found.map_or(ahead.len(), |found| searched + found + 1);
            if taken > *left {
                return Err(beyond);
            }
            if found.is_some() {
                let line = ahead.get(..taken).and_then(|line| line.strip_suffix(b"\r\n"));
                let line = line.ok_or(Bad::Malformed("a line that does not end in CR LF"))?;
                let line = String::from_utf8_lossy(line).into_owned();
                *left -= taken;
                self.at += taken;
                return Ok(line);
            }
            searched = taken;
            self.more().await?;
        }
    }

    async fn exactly(&mut self, length: usize) -> Result<Vec<u8>, Bad> {
        let mut body = Vec::new();
        self.append(length, &mut body).await?;
        Ok(body)
    }

    async fn append(&mut self, length: usize, body: &mut Vec<u8>) -> Result<(), Bad> {
        let whole = body.len().saturating_add(length);
        if whole > BODY_BYTES {
            return Err(Bad::BodyTooLarge);
        }
        loop {
            let ahead = self.ahead();
            let taken = ahead.len().min(whole - body.len());
            body.extend_from_slice(ahead.get(..taken).unwrap_or_default());
            self.at += taken;
            if body.len() == whole {
                return Ok(());
            }
            self.more().await?;
        }
    }

    async fn chunks(&mut self) -> Result<Vec<u8>, Bad> {
        let mut body = Vec::new();
        // Sizes and trailers are bounded as a head is; an endless stream of empty lines is malformed.
        loop {
            let mut left = HEAD_BYTES;
            let line = self.line(&mut left, Bad::HeadTooLarge).await?;
            let digits = line.split(';').next().unwrap_or_default().trim();
            let is_hex = !digits.is_empty() && digits.len() <= 8 && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
            let size = usize::from_str_radix(digits, 16).ok().filter(|_| is_hex);
            let size = size.ok_or(Bad::Malformed("the size of a chunk is no number"))?;
            if size == 0 {
                break;
            }
            self.append(size, &mut body).await?;
            if !self.line(&mut left, Bad::HeadTooLarge).await?.is_empty() {
                return Err(Bad::Malformed("a chunk that is longer than its size"));
            }
        }
        let mut left = HEAD_BYTES;
        while !self.line(&mut left, Bad::HeadTooLarge).await?.is_empty() {}
        Ok(body)
    }
}

#[cfg(test)]
mod tests {
    use super::{Bad, Request, read};
    use tokio::io::{AsyncWriteExt, duplex};

    async fn parse(text: &[u8]) -> Result<Request, Bad> {
        let (mut client, mut server) = duplex(1 << 20);
        client.write_all(text).await.unwrap();
        drop(client);
        read(&mut server).await
    }

    #[tokio::test]
    async fn reads_bodies_of_both_kinds() {
        for text in [
            "POST /a?k=v HTTP/1.1\r\nA-B: c \r\ncontent-length: 5\r\n\r\nhello",
            "POST /a?k=v HTTP/1.1\r\nA-B: c\r\nTransfer-Encoding: Chunked\r\n\r\n2\r\nhe\r\n3;x=y\r\nllo\r\n0\r\nt: r\r\n\r\n",
        ] {
            let request = parse(text.as_bytes()).await.unwrap();
            assert_eq!(
                (request.method.as_str(), request.path(), request.body.as_slice()),
                ("POST", "/a", &b"hello"[..])
            );
            assert_eq!((request.header("a-b"), request.parameter("k")), (Some("c"), Some("v")));
        }
    }

    #[tokio::test]
    async fn refuses_what_is_malformed() {
        for text in [
            "\r\n\r\n",
            "GET\r\n\r\n",
            "GET /  HTTP/1.1\r\n\r\n",
            "GET / HTTP/2\r\n\r\n",
            "G3T / HTTP/1.1\r\n\r\n",
            "GET http://x/ HTTP/1.1\r\n\r\n",
            "GET / HTTP/1.1\n\n",
            "GET / HTTP/1.1\r\nno colon\r\n\r\n",
            "GET / HTTP/1.1\r\n folded: x\r\n\r\n",
            "GET / HTTP/1.1\r\ncontent-length: -1\r\n\r\n",
            "GET / HTTP/1.1\r\ncontent-length: +1\r\n\r\n",
            "GET / HTTP/1.1\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n",
            "GET / HTTP/1.1\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n",
            "GET / HTTP/1.1\r\ntransfer-encoding: gzip\r\n\r\n",
            "GET / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n+1\r\n",
            "GET / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n1\r\nab\r\n0\r\n\r\n",
        ] {
            assert!(matches!(parse(text.as_bytes()).await, Err(Bad::Malformed(_))), "{text:?}");
        }
    }

    #[tokio::test]
    async fn heads_and_bodies_are_bounded() {
        let long = format!("GET / HTTP/1.1\r\na: {}", "x".repeat(65 * 1024));
        assert_eq!(parse(long.as_bytes()).await, Err(Bad::HeadTooLarge));
        for length in ["67108865", "99999999999999999999999"] {
            let text = format!("POST / HTTP/1.1\r\ncontent-length: {length}\r\n\r\n");
            assert_eq!(parse(text.as_bytes()).await, Err(Bad::BodyTooLarge));
        }
        let chunked = "POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\nffffffff\r\n";
        assert_eq!(parse(chunked.as_bytes()).await, Err(Bad::BodyTooLarge));
        assert_eq!(parse(b"POST / HTTP/1.1\r\ncontent-length: 3\r\n\r\nab").await, Err(Bad::Gone));
    }
}
