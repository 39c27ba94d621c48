// Requests of those who signed in, photographers and operators. The cookie is the browser's to send; `?desk` says that it
// is meant, where guests are let in too.

import { ask, json } from "./api.js";

export const signIn = (token) => ask("/api/desk", { method: "POST", headers: { Authorization: `Bearer ${token}` } });
export const signOut = () => ask("/api/desk", { method: "DELETE" });

/** How the photographer's event stands. */
export const board = () => ask("/api/board");

/** One page of the event's photos as its photographer sees them, newest first. */
export const photos = (after, limit) =>
  ask(`/api/all-photos?desk&limit=${limit}${after ? `&after=${encodeURIComponent(after)}` : ""}`);

export const thumb = (photo) => `/api/photo/${photo.id}/thumb?desk`;
/** Both thumbnails, as in api.js. */
export const thumbs = (photo) => `/api/photo/${photo.id}/small?desk 320w, ${thumb(photo)} 480w`;
export const preview = (photo) => `/api/photo/${photo.id}/preview?desk`;

/** `what`: show, hide, release, feature, unfeature or retry. */
export const change = (what, ids) => ask(`/api/photos/${what}`, json("POST", { photos: ids }));
export const remove = (id) => ask(`/api/photo/${id}`, { method: "DELETE" });

/** The operator's. */
export const events = () => ask("/api/admin/events");
export const createEvent = (event) => ask("/api/admin/events", json("POST", event));
export const changeEvent = (id, change) => ask(`/api/admin/events/${id}`, json("PATCH", change));
export const deleteEvent = (id) => ask(`/api/admin/events/${id}`, { method: "DELETE" });
export const tokens = (id) => ask(`/api/admin/events/${id}/tokens`);
export const createToken = (id, label) => ask(`/api/admin/events/${id}/tokens`, json("POST", { label }));
export const revokeToken = (id, token) => ask(`/api/admin/events/${id}/tokens/${token}`, { method: "DELETE" });
export const attention = () => ask("/api/admin/jobs?limit=50");
export const retryAll = () => ask("/api/admin/jobs/retry", json("POST", { all: true }));
export const retry = (id) => ask("/api/admin/jobs/retry", json("POST", { photos: [id] }));
export const reindex = (id) => ask(`/api/admin/events/${id}/reindex`, json("POST", { failed: false }));
export const rematch = (id) => ask(`/api/admin/events/${id}/rematch`, { method: "POST" });
export const suppressions = (id) => ask(`/api/admin/events/${id}/suppressions`);
export const liftSuppression = (id, one) => ask(`/api/admin/events/${id}/suppressions/${one}`, { method: "DELETE" });
export const confirmSuppression = (id, one) => ask(`/api/admin/events/${id}/suppressions/${one}/confirm`, { method: "POST" });
export const system = () => ask("/api/admin/system");
export const audit = (after) => ask(`/api/admin/audit?limit=30${after ? `&after=${encodeURIComponent(after)}` : ""}`);

/** Calls `look` now, every `often` milliseconds while the page is looked at, and soon after each of the event's news. */
export function follow(look, often, kinds) {
  let timer = null;
  let news = null;
  let busy = false;
  async function now() {
    clearTimeout(timer);
    if (busy) return;
    busy = true;
    await look();
    busy = false;
    if (!document.hidden) timer = setTimeout(now, often);
  }
  function soon() {
    clearTimeout(timer);
    timer = setTimeout(now, 700);
  }
  function wake() {
    clearTimeout(timer);
    if (news) news.close();
    news = null;
    if (document.hidden) return;
    if (window.EventSource && kinds.length) {
      news = new EventSource("/api/live?desk");
      for (const kind of kinds) news.addEventListener(kind, soon);
    }
    now();
  }
  document.addEventListener("visibilitychange", wake);
  addEventListener("pageshow", (event) => event.persisted && wake());
  wake();
  return now;
}
