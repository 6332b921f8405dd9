//! nginx before the server, as an operator would have it, but for one thing: it passes bodies
//! and answers on as they come, so that what a slow client does reaches the server.

use std::{
    net::SocketAddr,
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, bail};

use crate::server::{free_address, request};

/// A running nginx. Dropped, it is stopped.
pub struct Nginx {
    child: Child,
    pub address: SocketAddr,
}

impl Drop for Nginx {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

impl Nginx {
    /// Starts one that passes everything on to `upstream`, and waits until it does.
    pub async fn start(directory: &Path, upstream: SocketAddr) -> anyhow::Result<Self> {
        let address = free_address()?;
        let file = directory.join("nginx.conf");
        std::fs::write(&file, config(directory, address, upstream))?;
        let child = Command::new("nginx")
            .arg("-p")
            .arg(directory)
            .arg("-c")
            .arg(&file)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context(
                "nginx cannot be started: is it installed? (Debian: apt-get install nginx-light)",
            )?;
        let mut nginx = Self { child, address };
        let started = Instant::now();
        loop {
            let answer = request(
                address,
                "GET /livez HTTP/1.1\r\nHost: herald\r\nConnection: close\r\n\r\n",
            )
            .await;
            if let Ok((200, _)) = answer {
                return Ok(nginx);
            }
            if let Some(status) = nginx.child.try_wait()? {
                bail!("nginx ended at its start: {status}");
            }
            if started.elapsed() > Duration::from_secs(10) {
                bail!("nginx does not pass requests on after 10 s");
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

/// One process, so that killing it ends it.
fn config(directory: &Path, address: SocketAddr, upstream: SocketAddr) -> String {
    let directory = directory.display();
    format!(
        "daemon off;
master_process off;
pid {directory}/nginx.pid;
error_log {directory}/nginx-error.log error;
worker_rlimit_nofile 65536;
events {{ worker_connections 16384; }}
http {{
  access_log off;
  client_body_temp_path {directory}/nginx-body;
  proxy_temp_path {directory}/nginx-proxy;
  fastcgi_temp_path {directory}/nginx-fastcgi;
  uwsgi_temp_path {directory}/nginx-uwsgi;
  scgi_temp_path {directory}/nginx-scgi;
  keepalive_requests 1000000;
  upstream herald {{ server {upstream}; keepalive 64; keepalive_requests 1000000; }}
  server {{
    listen {address} backlog=4096 sndbuf=128k;
    location / {{
      proxy_pass http://herald;
      proxy_http_version 1.1;
      proxy_set_header Connection \"\";
      proxy_set_header Host $host;
      proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
      proxy_request_buffering off;
      proxy_buffering off;
    }}
  }}
}}
"
    )
}
