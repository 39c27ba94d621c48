// Requests of guests to the server's public API; desk.js has those of who signed in. Nothing else knows its paths.

/** Milliseconds between looks: without the server's events, with them, and at least. */
const OFTEN = 5000;
const SELDOM = 30000;
const BURST = 1000;

/**
 * One request. Always resolves: `code` is "ok", "unchanged", "offline", or what the server's problem says.
 * @returns {Promise<{code: string, body?: object, etag?: string}>}
 */
export async function ask(path, options) {
  let response;
  try {
    response = await fetch(path, Object.assign({ credentials: "same-origin", cache: "no-store" }, options));
  } catch {
    return { code: "offline" };
  }
  if (response.status === 304) return { code: "unchanged" };
  if (response.status === 204) return { code: "ok", body: null };
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

/** A file of ours that does not come is asked for again so often, first after so many milliseconds. */
const TRIES = 5;
const AGAIN = 500;

/**
 * A module that is wanted later than the page. A phone that goes from one network to another meanwhile loses what was on
 * its way: that is asked for again, at another address, as browsers may remember what failed by its address.
 */
export async function later(name) {
  for (let tries = 0; ; tries += 1) {
    try {
      return await import(tries ? `./${name}?${tries}` : `./${name}`);
    } catch (fault) {
      if (tries === TRIES) throw fault;
      await new Promise((resolve) => setTimeout(resolve, AGAIN << tries));
    }
  }
}

/** Options of a request that carries something. */
export const json = (method, body) => ({ method, headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) });

const known = (etag) => (etag ? { headers: { "If-None-Match": etag } } : {});

/** The newest photos, which came with the page: {photos, total}; null where there are none. */
export function listed() {
  const list = document.getElementById("listed");
  return list && JSON.parse(list.content.textContent);
}

/** All photos of the guest, or "unchanged" since `etag`. `some` is called with those of the first page when there are more. */
export async function myPhotos(etag, some) {
  const first = await ask("/api/my-photos?limit=200", known(etag));
  if (first.code !== "ok") return first;
  const photos = first.body.photos;
  if (first.body.next) some(photos.slice());
  for (let next = first.body.next; next; ) {
    const page = await ask(`/api/my-photos?limit=1000&after=${encodeURIComponent(next)}`);
    if (page.code !== "ok") return page;
    photos.push(...page.body.photos);
    next = page.body.next;
  }
  return { code: "ok", body: photos, etag: first.etag };
}

/**
 * One page of the photos of the event, newest first: {photos, next, counts}.
 * @param narrow which of them, as the query says it: `from=…&to=…`, `featured=yes`, or nothing
 */
export function allPhotos(narrow, after, etag) {
  const query = [`limit=${after ? 500 : 200}`, narrow, after && `after=${encodeURIComponent(after)}`].filter(Boolean);
  return ask(`/api/all-photos?${query.join("&")}`, after ? {} : known(etag));
}

/** The hours in which photos were taken: [{hour, photos}]. */
export const times = () => ask("/api/times");

/** A picture as a request's body. */
function sent(path, picture) {
  const headers = { "Content-Type": picture.type.startsWith("image/") ? picture.type : "application/octet-stream" };
  return ask(path, { method: "POST", body: picture, headers });
}

/**
 * Looks for the guest, or for one of those they added. `face` chooses where there are several. Only ever called after the
 * box was ticked.
 */
export function selfie(picture, language, person, face) {
  const chosen = face === undefined ? "" : `&face=${face}`;
  return sent(`/api/selfie?consent=yes&person=${person}&lang=${encodeURIComponent(language)}${chosen}`, picture);
}

/** Where faces are in a picture; nothing is kept. Only ever called after the box was ticked. */
export const look = (picture, language) => sent(`/api/selfie/look?consent=yes&lang=${encodeURIComponent(language)}`, picture);

/** Erases what is held about the guest's face. */
export const erase = () => ask("/api/selfie", { method: "DELETE" });

/** Makes faces like the one in the picture findable no more. Only ever called after the box was ticked. */
export function neverMatch(picture, language) {
  return sent(`/api/never-match?consent=yes&lang=${encodeURIComponent(language)}`, picture);
}

/** Lifts it. */
export const liftNeverMatch = () => ask("/api/never-match", { method: "DELETE" });

/** Takes a photo down until its photographer has looked. */
export const report = (photo) => ask(`/api/photo/${photo.id}/report`, { method: "POST" });

/** Says whether the guest is in a photo in which they may be. */
export const sayMine = (photo, mine) => ask(`/api/my-photos/${photo.id}`, json("POST", { mine }));

/** What is held about the guest. */
export const held = () => ask("/api/me");

/** A link back, in the place of an earlier one; its end; and coming by it. */
export const makeLink = () => ask("/api/me/link", { method: "POST" });
export const endLink = () => ask("/api/me/link", { method: "DELETE" });
export const comeBack = (secret) => ask("/api/back", json("POST", { secret }));

/** Addresses of a photo's bytes. */
export const original = (photo) => `/api/photo/${photo.id}`;
export const preview = (photo) => `/api/photo/${photo.id}/preview`;
export const thumb = (photo) => `/api/photo/${photo.id}/thumb`;
export const small = (photo) => `/api/photo/${photo.id}/small`;
/** Both thumbnails of a grid, by the width of a picture that lies; the page says which sizes are wanted. */
export const thumbs = (photo) => `${small(photo)} 320w, ${thumb(photo)} 480w`;

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
  /** The last of the server's events that was heard: what came meanwhile is told when the page listens again. */
  let heard = "";

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
    listen();
    now();
  }

  function listen() {
    if (!window.EventSource || document.hidden) return;
    if (events) events.close();
    events = new EventSource(heard ? `/api/live?after=${heard}` : "/api/live");
    const hear = (event) => {
      heard = event.lastEventId || heard;
      soon();
    };
    for (const kind of kinds.concat("hello", "reset")) events.addEventListener(kind, hear);
    // The browser comes again by itself, except after an answer that is no stream.
    events.onerror = () => events && events.readyState === EventSource.CLOSED && setTimeout(listen, OFTEN);
  }

  document.addEventListener("visibilitychange", wake);
  // A page that comes back from the browser's memory has lost its connection.
  addEventListener("pageshow", (event) => event.persisted && wake());
  addEventListener("online", wake);
  // What a browser knows at once need not wait for a request that fails.
  addEventListener("offline", () => offline(true));
  wake();
  return now;
}
