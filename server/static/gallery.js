// All photos of the event, newest first: pages are loaded as one scrolls, new photos wait for a tap where one has scrolled.

import { allPhotos, keepLooking } from "./api.js";
import { Grid } from "./grid.js";
import { count, say } from "./say.js";
import { Viewer } from "./viewer.js";

const part = (id) => document.getElementById(id);
const viewer = new Viewer(part("viewer"));
const grid = new Grid(part("all"), (list, id) => viewer.open(list, id));

let etag = null;
let next = null;
let loading = false;
/** Newest page that was not shown yet because the guest was further down. */
let waiting = null;

/** How many of the photos stand before those that are shown. */
function newer(photos) {
  const shown = new Set(grid.photos.map((photo) => photo.id));
  const at = photos.findIndex((photo) => shown.has(photo.id));
  return at < 0 ? photos.length : at;
}

function show(photos) {
  grid.set(photos);
  part("nothing").hidden = photos.length > 0;
  part("more-part").hidden = !next;
  viewer.refresh();
}

/** Puts the newest page in the place of the same stretch of what is shown: new photos come, those taken down go. */
function prepend(page) {
  const last = page.photos[page.photos.length - 1];
  const at = last && page.next ? grid.photos.findIndex((photo) => photo.id === last.id) : -1;
  if (at < 0) {
    // Everything there is, or a gap (more new photos than a page), which is filled from the top.
    next = page.next;
    show(page.photos);
  } else {
    show(page.photos.concat(grid.photos.slice(at + 1)));
  }
  part("newer").hidden = true;
  waiting = null;
}

async function look() {
  const answer = await allPhotos(null, etag);
  if (answer.code === "gallery-closed") location.reload();
  if (answer.code !== "ok") return answer.code;
  etag = answer.etag;
  const page = answer.body;
  const total = page.counts.indexed + page.counts.received;
  part("count").textContent = total ? count("photos", total) : "";
  const fresh = newer(page.photos);
  if (grid.photos.length === 0 || scrollY < 200 || !fresh) {
    prepend(page);
  } else {
    waiting = page;
    part("newer").textContent = count("newer", fresh);
    part("newer").hidden = false;
  }
  return "ok";
}

async function more() {
  if (!next || loading) return;
  loading = true;
  const answer = await allPhotos(next);
  loading = false;
  if (answer.code !== "ok") return;
  next = answer.body.next;
  const shown = new Set(grid.photos.map((photo) => photo.id));
  show(grid.photos.concat(answer.body.photos.filter((photo) => !shown.has(photo.id))));
  watchEnd();
}

// Loaded a screen ahead, so that nobody has to wait at the end.
const near = (entries) => entries.some((entry) => entry.isIntersecting) && more();
const end = window.IntersectionObserver && new IntersectionObserver(near, { rootMargin: "800px" });

/** Looking anew at the end says at once whether it is still near. */
function watchEnd() {
  if (!end) return;
  end.unobserve(part("more-part"));
  end.observe(part("more-part"));
}

part("more").addEventListener("click", more);
part("newer").addEventListener("click", () => {
  if (waiting) prepend(waiting);
  scrollTo(0, 0);
});
viewer.atEnd = more;
watchEnd();
keepLooking(look, ["indexed", "removed"], (offline) => {
  part("connection").hidden = !offline;
  part("connection").textContent = offline ? say("offline") : "";
});
