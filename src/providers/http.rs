//! The HTTP client of every provider.

use std::time::Duration;

/// The client that speaks HTTP.
pub type HttpClient = reqwest::Client;

/// A connection that idles longer is not used again: the other side may close it just as a
/// request goes out, and then it is unknown whether that arrived. Common servers keep theirs for
/// five seconds and more.
const IDLE_CONNECTION: Duration = Duration::from_secs(3);

/// The one way to make an HTTP client: with time-outs, without redirects.
pub fn http_client(
    timeout: Duration,
    connect_timeout: Duration,
) -> Result<HttpClient, reqwest::Error> {
    // Ignoring the result is right: it is an error only when a provider is installed already.
    drop(rustls::crypto::ring::default_provider().install_default());
    reqwest::Client::builder()
        .timeout(timeout)
        .connect_timeout(connect_timeout)
        .redirect(reqwest::redirect::Policy::none())
        .pool_max_idle_per_host(256)
        .pool_idle_timeout(IDLE_CONNECTION)
        .tcp_nodelay(true)
        .user_agent(concat!("herald/", env!("CARGO_PKG_VERSION")))
        .build()
}

/// How requests of our own arrive at a server of ours: what its `/livez` says of the proxy
/// between. `None` when it does not say.
pub async fn reported_proxy(http: &HttpClient, public_url: &str) -> Option<String> {
    let answer = http.get(format!("{public_url}/livez")).send().await.ok()?;
    let document: serde_json::Value = answer.json().await.ok()?;
    Some(document.get("proxy")?.as_str()?.to_owned())
}
