// Keeps this version's own files and one page that says that there is no connection. Nothing of an event, no photo and no
// list, ever goes in: what was seen must not outlive the session. VERSION and FILES stand above this line when it is sent.

const OFFLINE = "/offline";

self.addEventListener("install", (event) => {
  const keep = caches.open(VERSION).then((cache) => cache.addAll([OFFLINE].concat(FILES)));
  event.waitUntil(keep.then(() => self.skipWaiting()));
});

self.addEventListener("activate", (event) => {
  const old = caches.keys().then((names) => Promise.all(names.filter((name) => name !== VERSION).map((name) => caches.delete(name))));
  event.waitUntil(old.then(() => self.clients.claim()));
});

self.addEventListener("fetch", (event) => {
  const { request } = event;
  if (request.method !== "GET") return;
  if (request.mode === "navigate") {
    event.respondWith(fetch(request).catch(() => caches.match(OFFLINE, { ignoreVary: true })));
  } else if (FILES.includes(new URL(request.url).pathname)) {
    event.respondWith(caches.match(request, { ignoreVary: true }).then((kept) => kept || fetch(request)));
  }
});
