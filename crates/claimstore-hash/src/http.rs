//! HTTP requests: method, path, query, chosen headers, body.

use crate::fingerprinter::{Form, unkeyed};
use crate::form::escaped;
use crate::mac::{Mac, Tag};
use crate::{Fingerprint, Fingerprinter, FormRules, JsonRules, PayloadError};

/// The parts of a request that a fingerprint may cover. Borrows all of them.
///
/// ```
/// use claimstore_hash::{Fingerprinter, HttpBody, HttpRequest, HttpRules, JsonRules, Match};
///
/// let rules = HttpRules::new().header("Content-Type").body(HttpBody::Json(JsonRules::new()));
/// let request = |query, body| {
///     HttpRequest::new("POST", "/v1/orders").query(query).header("content-type", "application/json").body(body)
/// };
/// let fingerprinter = Fingerprinter::with_key([7; 32]);
/// let first = fingerprinter.http(&rules, &request("dry_run=0&tenant=a", r#"{"sku":"A","qty":2}"#))?;
/// let retry = fingerprinter.http(&rules, &request("tenant=a&dry_run=0", r#"{"qty":2, "sku":"A"}"#))?;
/// assert_eq!(first.compare(&retry), Match::Same);
/// # Ok::<(), claimstore_hash::PayloadError>(())
/// ```
#[derive(Clone)]
pub struct HttpRequest<'a> {
    method: &'a str,
    path: &'a str,
    query: Option<&'a str>,
    headers: Vec<(&'a str, &'a [u8])>,
    body: &'a [u8],
}

impl<'a> HttpRequest<'a> {
    /// A request without query, headers and body. `path` begins with `/` and has no query in it.
    pub fn new(method: &'a str, path: &'a str) -> HttpRequest<'a> {
        HttpRequest { method, path, query: None, headers: Vec::new(), body: &[] }
    }

    /// The query, which is the part after the `?`. An empty query is not the same as none.
    #[must_use]
    pub fn query(mut self, query: &'a str) -> HttpRequest<'a> {
        self.query = Some(query);
        self
    }

    /// One header line. Those that the rules do not choose do not count, so all may be given.
    #[must_use]
    pub fn header(mut self, name: &'a str, value: &'a (impl AsRef<[u8]> + ?Sized)) -> HttpRequest<'a> {
        self.headers.push((name, value.as_ref()));
        self
    }

    /// The body, decoded from whatever transfer and content coding it came in.
    #[must_use]
    pub fn body(mut self, body: &'a (impl AsRef<[u8]> + ?Sized)) -> HttpRequest<'a> {
        self.body = body.as_ref();
        self
    }
}

/// Shows sizes, never content.
impl std::fmt::Debug for HttpRequest<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HttpRequest")
            .field("headers", &self.headers.len())
            .field("body_bytes", &self.body.len())
            .finish_non_exhaustive()
    }
}

/// How a body is read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum HttpBody {
    /// As the bytes it is.
    #[default]
    Raw,
    /// As JSON; a body that is none is refused, an empty one too.
    Json(JsonRules),
    /// As `application/x-www-form-urlencoded`.
    Form(FormRules),
}

/// Which parts of a request count, and how they are read.
///
/// Method, path, query and body always count. Headers count where they are chosen; those that change from retry to
/// retry (`Date`, `Authorization`, `traceparent`) are better not.
///
/// The rules are part of the fingerprint's context: under other rules, fingerprints are
/// [`Match::Unknown`](crate::Match::Unknown), not different.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HttpRules {
    /// In small letters, sorted, without repeats.
    headers: Vec<String>,
    query: FormRules,
    body: HttpBody,
}

impl HttpRules {
    /// No header counts; the body is read as bytes.
    pub fn new() -> HttpRules {
        HttpRules::default()
    }

    /// The header counts: its values in their order, or that it is absent.
    #[must_use]
    pub fn header(mut self, name: &str) -> HttpRules {
        let name = name.to_ascii_lowercase();
        if let Err(place) = self.headers.binary_search(&name) {
            self.headers.insert(place, name);
        }
        self
    }

    /// Which fields of the query count. Default: all.
    #[must_use]
    pub fn query(mut self, rules: FormRules) -> HttpRules {
        self.query = rules;
        self
    }

    /// How the body is read. Default: as bytes.
    #[must_use]
    pub fn body(mut self, body: HttpBody) -> HttpRules {
        self.body = body;
        self
    }

    fn describe(&self, mac: &mut Mac) {
        self.headers.iter().for_each(|name| mac.part(Tag::Header, name.as_bytes()));
        mac.part(Tag::Query, &[]);
        self.query.describe(mac);
        mac.part(Tag::Body, &[self.body_kind()]);
        match &self.body {
            HttpBody::Raw => {}
            HttpBody::Json(rules) => rules.describe(mac),
            HttpBody::Form(rules) => rules.describe(mac),
        }
    }

    fn body_kind(&self) -> u8 {
        match &self.body {
            HttpBody::Raw => Form::Raw as u8,
            HttpBody::Json(_) => Form::Json as u8,
            HttpBody::Form(_) => Form::UrlEncoded as u8,
        }
    }
}

impl Fingerprint {
    /// The fingerprint of a request. Without a key: see [`Fingerprinter::http`].
    ///
    /// # Errors
    ///
    /// Those of [`Fingerprinter::http`].
    pub fn http(rules: &HttpRules, request: &HttpRequest<'_>) -> Result<Fingerprint, PayloadError> {
        unkeyed().http(rules, request)
    }
}

impl Fingerprinter {
    /// The fingerprint of a request.
    ///
    /// - **Method**: as it is; methods are case-sensitive (RFC 9110, section 9.1).
    /// - **Path**: hexadecimal digits of escapes in capitals and escapes of unreserved characters undone, which
    ///   change nothing (RFC 3986, sections 6.2.2.1 and 6.2.2.2). `/a/../b` and `/a%2Fb` stay as they are.
    /// - **Query**: as [`form`](Self::form) reads it. No query and an empty one differ.
    /// - **Headers**: names in any case; values without space around them; several lines in their order.
    /// - **Body**: as the rules say.
    ///
    /// # Errors
    ///
    /// [`PayloadError::NotHttp`] for a method that is no token, a path that does not begin with `/` or has a
    /// control character, space, `?` or `#` in it, or a header with a line break; [`PayloadError::PercentEncoding`];
    /// and the errors of reading the body.
    pub fn http(&self, rules: &HttpRules, request: &HttpRequest<'_>) -> Result<Fingerprint, PayloadError> {
        let mut mac = self.start(Form::Http);
        if !is_token(request.method) {
            return Err(PayloadError::NotHttp { part: "method" });
        }
        mac.part(Tag::Method, request.method.as_bytes());
        mac.part(Tag::Path, &normal_path(request.path)?);
        if let Some(query) = request.query {
            mac.part(Tag::Query, &[]);
            rules.query.write(&mut mac, query.as_bytes())?;
        }
        for name in &rules.headers {
            mac.part(Tag::Header, name.as_bytes());
            header_values(&mut mac, name, request)?;
        }
        self.http_body(&mut mac, &rules.body, request.body)?;
        let context = self.context(Form::Http, |mac| rules.describe(mac));
        Ok(self.fingerprint(Form::Http, context, mac))
    }

    fn http_body(&self, mac: &mut Mac, rules: &HttpBody, body: &[u8]) -> Result<(), PayloadError> {
        // Names and values of a form come after this part; those of the query and the headers come before it.
        match rules {
            HttpBody::Raw => self.body_part(mac, body),
            HttpBody::Json(rules) => rules.write(mac, &rules.read(body)?),
            HttpBody::Form(rules) => {
                mac.part(Tag::Body, &[]);
                rules.write(mac, body)?;
            }
        }
        Ok(())
    }
}

fn header_values(mac: &mut Mac, name: &str, request: &HttpRequest<'_>) -> Result<(), PayloadError> {
    for (given, value) in &request.headers {
        if given.eq_ignore_ascii_case(name) {
            if value.iter().any(|byte| matches!(byte, b'\r' | b'\n' | 0)) {
                return Err(PayloadError::NotHttp { part: "header" });
            }
            mac.part(Tag::Value, value.trim_ascii());
        }
    }
    Ok(())
}

/// RFC 9110, section 5.6.2.
fn is_token(text: &str) -> bool {
    !text.is_empty()
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}

fn normal_path(path: &str) -> Result<Vec<u8>, PayloadError> {
    let refused = |byte: u8| byte <= b' ' || byte == 0x7f || matches!(byte, b'?' | b'#');
    if !path.starts_with('/') || path.bytes().any(refused) {
        return Err(PayloadError::NotHttp { part: "path" });
    }
    let mut normal = Vec::with_capacity(path.len());
    let mut bytes = path.bytes().enumerate();
    while let Some((at, byte)) = bytes.next() {
        if byte != b'%' {
            normal.push(byte);
            continue;
        }
        let byte = escaped(&mut bytes).ok_or(PayloadError::PercentEncoding { at })?;
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            normal.push(byte);
        } else {
            normal.extend_from_slice(format!("%{byte:02X}").as_bytes());
        }
    }
    Ok(normal)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Match;

    fn base<'a>() -> HttpRequest<'a> {
        HttpRequest::new("POST", "/v1/orders")
    }

    #[test]
    fn which_requests_are_the_same() {
        let rules = HttpRules::new().header("X-Tenant").header("Accept");
        let check = |one: &HttpRequest<'_>, other: &HttpRequest<'_>, expected| {
            let maker = Fingerprinter::with_key([1; 32]);
            let made = [one, other].map(|request| maker.http(&rules, request).unwrap());
            assert_eq!(made[0].compare(&made[1]), expected, "{one:?} {other:?}");
        };
        let path = |path| HttpRequest::new("POST", path);
        check(&base(), &base(), Match::Same);
        check(&path("/a%2fb"), &path("/a%2Fb"), Match::Same);
        check(&path("/%7Eme/%61"), &path("/~me/a"), Match::Same);
        check(&base().query("a=1&b=2"), &base().query("b=2&a=1"), Match::Same);
        check(&base().header("x-tenant", "t"), &base().header("X-TENANT", " t\t"), Match::Same);
        check(&base().header("Date", "now"), &base().header("Date", "then"), Match::Same);
        check(
            &base().header("accept", "b").header("x-tenant", "a"),
            &base().header("x-tenant", "a").header("accept", "b"),
            Match::Same,
        );

        check(&base(), &HttpRequest::new("PUT", "/v1/orders"), Match::Different);
        check(&base(), &HttpRequest::new("post", "/v1/orders"), Match::Different);
        check(&base(), &path("/v1/orders/"), Match::Different);
        check(&path("/a%2Fb"), &path("/a/b"), Match::Different);
        check(&path("/a"), &path("/A"), Match::Different);
        check(&base(), &base().query(""), Match::Different);
        check(&base().query("a=1"), &base().query("a=2"), Match::Different);
        check(&base().query("a=1"), &base().header("x-tenant", "a=1"), Match::Different);
        check(&base(), &base().header("x-tenant", ""), Match::Different);
        check(&base().header("x-tenant", "a"), &base().header("accept", "a"), Match::Different);
        check(
            &base().header("x-tenant", "a").header("x-tenant", "b"),
            &base().header("x-tenant", "b").header("x-tenant", "a"),
            Match::Different,
        );
        check(
            &base().header("x-tenant", "a").header("x-tenant", "b"),
            &base().header("x-tenant", "a, b"),
            Match::Different,
        );
        check(&base().body("a"), &base().body("b"), Match::Different);
        check(&base().body(r#"{"a":1}"#), &base().body(r#"{ "a":1}"#), Match::Different);
    }

    #[test]
    fn a_body_is_read_as_the_rules_say() {
        let made = |body: &HttpBody, bytes: &str| {
            Fingerprint::http(&HttpRules::new().body(body.clone()), &base().body(bytes))
        };
        let json = HttpBody::Json(JsonRules::new().exclude("/t").unwrap());
        assert_eq!(made(&json, r#"{"a":1,"t":2}"#), made(&json, r#"{"t":3, "a":1.0}"#));
        assert_ne!(made(&json, r#"{"a":1}"#), made(&json, r#"{"a":2}"#));
        assert_eq!(made(&json, ""), Err(PayloadError::Syntax { at: 0 }));
        let form = HttpBody::Form(FormRules::new());
        assert_eq!(made(&form, "a=1&b=2"), made(&form, "b=2&a=%31"));
        assert_ne!(made(&form, "a=1&b=2"), made(&form, "a=2&b=1"));
        assert_eq!(made(&form, "a=%"), Err(PayloadError::PercentEncoding { at: 2 }));
        // Read in another way, they are not compared.
        let kinds = [HttpBody::Raw, json, form].map(|kind| made(&kind, "1").unwrap());
        assert_eq!(kinds[0].compare(&kinds[1]), Match::Unknown);
        assert_eq!(kinds[0].compare(&kinds[2]), Match::Unknown);
        assert_eq!(kinds[1].compare(&kinds[2]), Match::Unknown);
    }

    #[test]
    fn a_field_of_the_query_is_not_one_of_the_body() {
        let rules = HttpRules::new().body(HttpBody::Form(FormRules::new()));
        let made = [
            base().query("a=1").body("b=2"),
            base().query("").body("a=1&b=2"),
            base().query("a=1&b=2").body(""),
            base().body("a=1&b=2"),
        ]
        .map(|request| Fingerprint::http(&rules, &request).unwrap());
        for (at, one) in made.iter().enumerate() {
            assert!(made.iter().skip(at + 1).all(|other| one.compare(other) == Match::Different));
        }
    }

    #[test]
    fn rules_say_what_is_compared() {
        let made = |rules: HttpRules| Fingerprint::http(&rules, &base().body("1")).unwrap();
        let all = [
            made(HttpRules::new()),
            made(HttpRules::new().header("a")),
            made(HttpRules::new().query(FormRules::new().exclude("a"))),
            made(HttpRules::new().body(HttpBody::Json(JsonRules::new()))),
            made(HttpRules::new().body(HttpBody::Form(FormRules::new().exclude("a")))),
        ];
        for (at, one) in all.iter().enumerate() {
            assert!(all.iter().skip(at + 1).all(|other| one.compare(other) == Match::Unknown));
        }
        assert_eq!(
            made(HttpRules::new().header("B").header("a")),
            made(HttpRules::new().header("A").header("b"))
        );
    }

    #[test]
    fn what_is_not_http_is_refused() {
        let check = |request: HttpRequest<'_>, expected| {
            assert_eq!(Fingerprint::http(&HttpRules::new().header("a"), &request), Err(expected));
        };
        let not = |part| PayloadError::NotHttp { part };
        check(HttpRequest::new("", "/"), not("method"));
        check(HttpRequest::new("GET /", "/"), not("method"));
        check(HttpRequest::new("GET", ""), not("path"));
        check(HttpRequest::new("GET", "a"), not("path"));
        check(HttpRequest::new("GET", "/a?b"), not("path"));
        check(HttpRequest::new("GET", "/a b"), not("path"));
        check(HttpRequest::new("GET", "/a\r\n"), not("path"));
        check(HttpRequest::new("GET", "/%"), PayloadError::PercentEncoding { at: 1 });
        check(HttpRequest::new("GET", "/").query("%"), PayloadError::PercentEncoding { at: 0 });
        check(HttpRequest::new("GET", "/").header("A", "b\r\nc"), not("header"));
    }

    #[test]
    fn the_debug_text_keeps_the_request_to_itself() {
        let shown = format!("{:?}", base().query("secret").header("a", "secret").body("secret"));
        assert_eq!(shown, "HttpRequest { headers: 1, body_bytes: 6, .. }");
    }
}
