// Requests to the server's public API, and nothing else knows its paths.

/** Milliseconds between looks: without the server's events, with them, and at least. */
const OFTEN = 5000;
const SELDOM = 30000;
const BURST = 1000;

/**
 * One request. Always resolves: `code` is "ok", "unchanged", "offline", or what the server's problem says.
 * @returns {Promise<{code: string, body?: object, etag?: string}>}
 */
async function ask(path, options) {
  let response;
  try {
    response = await fetch(path, Object.assign({ credentials: "same-origin", cache: "no-store" }, options));
  } catch {
    return { code: "offline" };
  }
  if (response.status === 304) return { code: "unchanged" };
  let body = null;
  try {
    body = await response.json();
  } catch {
    // A Wi-Fi's sign-in page answers anything with 200 and a page.
    if (response.ok) return { code: "offline" };
  }
  if (response.ok) return { code: "ok", body, etag: response.headers.get("etag") };
  return { code: (body && body.code) || (response.status === 413 ? "too-large" : "internal"), body };
}

const known = (etag) => (etag ? { headers: { "If-None-Match": etag } } : {});

/** All photos of the guest, or "unchanged" since `etag`. */
export async function myPhotos(etag) {
  const first = await ask("/api/my-photos?limit=1000", known(etag));
  if (first.code !== "ok") return first;
  const photos = first.body.photos;
  for (let next = first.body.next; next; ) {
    const page = await ask(`/api/my-photos?limit=1000&after=${encodeURIComponent(next)}`);
    if (page.code !== "ok") return page;
    photos.push(...page.body.photos);
    next = page.body.next;
  }
  return { code: "ok", body: photos, etag: first.etag };
}

/** One page of all photos of the event, newest first: {photos, next, counts}. */
export const allPhotos = (after, etag) =>
  ask(after ? `/api/all-photos?after=${encodeURIComponent(after)}` : "/api/all-photos", known(etag));

/** Looks for the guest. `face` chooses where there are several. Only ever called after the box was ticked. */
export function selfie(picture, language, face) {
  const chosen = face === undefined ? "" : `&face=${face}`;
  const headers = { "Content-Type": picture.type.startsWith("image/") ? picture.type : "application/octet-stream" };
  const path = `/api/selfie?consent=yes&lang=${encodeURIComponent(language)}${chosen}`;
  return ask(path, { method: "POST", body: picture, headers });
}

/** Erases what is held about the guest's face. */
export const erase = () => ask("/api/selfie", { method: "DELETE" });

/** Makes faces like the one in the picture findable no more. Only ever called after the box was ticked. */
export function neverMatch(picture, language) {
  const headers = { "Content-Type": picture.type.startsWith("image/") ? picture.type : "application/octet-stream" };
  const path = `/api/never-match?consent=yes&lang=${encodeURIComponent(language)}`;
  return ask(path, { method: "POST", body: picture, headers });
}

/** Lifts it. */
export const liftNeverMatch = () => ask("/api/never-match", { method: "DELETE" });

/** Takes a photo down until its photographer has looked. */
export const report = (photo) => ask(`/api/photo/${photo.id}/report`, { method: "POST" });

/** Says whether the guest is in a photo in which they may be. */
export function sayMine(photo, mine) {
  const headers = { "Content-Type": "application/json" };
  return ask(`/api/my-photos/${photo.id}`, { method: "POST", body: JSON.stringify({ mine }), headers });
}

/** What is held about the guest. */
export const held = () => ask("/api/me");

/** Addresses of a photo's bytes. */
export const original = (photo) => `/api/photo/${photo.id}`;
export const preview = (photo) => `/api/photo/${photo.id}/preview`;
export const thumb = (photo) => `/api/photo/${photo.id}/thumb`;

/**
 * Looks at once, when the server says that something happened, and every now and then all the same: `look` resolves to
 * the code of its answer. Only while the page is looked at. `offline` is told whether there is no connection.
 * @param kinds what of `GET /api/live` is worth a look
 * @returns a function that looks at once
 */
export function keepLooking(look, kinds, offline) {
  let timer = null;
  let last = 0;
  let running = false;
  let again = false;
  let events = null;

  async function now() {
    clearTimeout(timer);
    again = running;
    if (running) return;
    running = true;
    last = Date.now();
    const code = await look();
    running = false;
    // The visit ended (or the event did): the server's page says so.
    if (code === "not-joined") location.reload();
    offline(code === "offline");
    if (again) soon();
    else if (!document.hidden) timer = setTimeout(now, live() ? SELDOM : OFTEN);
  }

  /** A burst of events is one look. */
  function soon() {
    clearTimeout(timer);
    timer = setTimeout(now, Math.max(0, last + BURST - Date.now()));
  }

  const live = () => events && events.readyState === EventSource.OPEN;

  /** A page that nobody looks at costs the phone and the server nothing. */
  function wake() {
    clearTimeout(timer);
    if (events) events.close();
    events = null;
    if (document.hidden) return;
    if (window.EventSource) {
      events = new EventSource("/api/live");
      for (const kind of kinds.concat("hello", "reset")) events.addEventListener(kind, soon);
    }
    now();
  }

  document.addEventListener("visibilitychange", wake);
  // A page that comes back from the browser's memory has lost its connection.
  addEventListener("pageshow", (event) => event.persisted && wake());
  addEventListener("online", soon);
  wake();
  return now;
}
