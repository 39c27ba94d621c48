//! The way to the server: https with a certificate of one's own, a proxy in between, HTTP/2, and nothing but ours counts.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use axum::extract::Request;
use axum::http::Version;
use axum::middleware::{Next, from_fn};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::service::TowerToHyperService;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::limits::certificate;
use crate::support::photos::{of_size, small};
use crate::support::stand_in::StandIn;
use crate::support::{Laptop, Server};

/// A proxy that only opens tunnels, as a hotel's or a company's does.
struct Proxy {
    address: std::net::SocketAddr,
    tunnels: Arc<AtomicU32>,
    task: tokio::task::JoinHandle<()>,
}

impl Proxy {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, tunnels) = (listener.local_addr().unwrap(), Arc::new(AtomicU32::new(0)));
        let counter = tunnels.clone();
        let task = tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                let counter = counter.clone();
                tokio::spawn(async move {
                    let mut head = Vec::new();
                    while !head.ends_with(b"\r\n\r\n") {
                        head.push(client.read_u8().await.unwrap());
                    }
                    let head = String::from_utf8(head).unwrap();
                    let target = head.strip_prefix("CONNECT ").and_then(|rest| rest.split(' ').next());
                    let mut server = TcpStream::connect(target.expect("a tunnel is asked for")).await.unwrap();
                    counter.fetch_add(1, Ordering::Relaxed);
                    client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
                    let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
                });
            }
        });
        Self { address, tunnels, task }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn https_with_a_certificate_of_ones_own_and_through_a_proxy() {
    let (crt, key) = (certificate("one.crt"), certificate("one.key"));
    let (crt, key) = (crt.to_str().unwrap(), key.to_str().unwrap());
    let server = Server::start_with(&["--faces", "off", "--tls-cert", crt, "--tls-key", key]).await;
    let event = server.create_event("secure");
    let https = event.through(&server.url().replace("http://", "https://"));
    let proxy = Proxy::start().await;
    let laptop = Laptop::new();
    laptop.put("a.jpg", &of_size(1, 700));
    // Whom nobody vouches for is not believed, and the line says what may be wrong.
    let mut command = laptop.for_event(&https);
    command.args(["--once", "--give-up", "1"]);
    let refused = laptop.start(command).end().await;
    refused.assert_exit(4);
    assert!(refused.complaints.contains("ertificate"), "{}", refused.complaints);
    let mut command = laptop.for_event(&https);
    command.args(["--once", "--ca", crt]).env("HTTPS_PROXY", format!("http://{}", proxy.address));
    let run = laptop.start(command).end().await;
    run.assert_exit(0);
    assert_eq!(run.said("uploaded"), 1);
    assert!(proxy.tunnels.load(Ordering::Relaxed) > 0, "the proxy was gone round");
    // And past it, for those it is not meant for.
    let before = proxy.tunnels.load(Ordering::Relaxed);
    laptop.put("b.jpg", &small(2));
    let mut command = laptop.for_event(&https);
    command.args(["--once", "--ca", crt]).env("HTTPS_PROXY", format!("http://{}", proxy.address));
    command.env("NO_PROXY", "127.0.0.1");
    laptop.start(command).end().await.assert_exit(0);
    assert_eq!(proxy.tunnels.load(Ordering::Relaxed), before);
    server.assert_no_faults();
}

#[tokio::test(flavor = "multi_thread")]
async fn http_2_where_the_server_speaks_it() {
    let server = StandIn::start().await;
    let versions = Arc::new(Mutex::new(Vec::new()));
    let noted = versions.clone();
    let router = server.router().layer(from_fn(move |request: Request, next: Next| {
        noted.lock().unwrap().push((request.method().clone(), request.version()));
        next.run(request)
    }));
    let chain: Vec<_> = CertificateDer::pem_file_iter(certificate("one.crt")).unwrap().map(Result::unwrap).collect();
    let key = PrivateKeyDer::from_pem_file(certificate("one.key")).unwrap();
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut config = rustls::ServerConfig::builder().with_no_client_auth().with_single_cert(chain, key).unwrap();
    // Both, as proxies in front of servers offer.
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let tls = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}", listener.local_addr().unwrap());
    let accepting = tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (tls, service) = (tls.clone(), TowerToHyperService::new(router.clone()));
            tokio::spawn(async move {
                let Ok(stream) = tls.accept(stream).await else { return };
                let connection = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
                let _ = connection.serve_connection(TokioIo::new(stream), service).await;
            });
        }
    });
    let laptop = Laptop::new();
    let contents: Vec<_> = (0..12).map(|n| of_size(n, 300)).collect();
    for (n, bytes) in contents.iter().enumerate() {
        laptop.put(format!("{n}.jpg"), bytes);
    }
    let mut command = laptop.for_event(&server.event().through(&url));
    command.args(["--once", "--ca", certificate("one.crt").to_str().unwrap()]);
    let run = laptop.start(command).end().await;
    run.assert_exit(0);
    assert_eq!(run.said("uploaded"), 12);
    server.assert_holds_each_once(&contents);
    let versions = versions.lock().unwrap();
    assert!(versions.len() >= 24 && versions.iter().all(|(_, version)| *version == Version::HTTP_2), "{versions:?}");
    accepting.abort();
}
