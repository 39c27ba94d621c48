// The photos of the event, newest first, all or of an hour or with a star: pages are loaded as one scrolls, new photos wait
// for a tap where one has scrolled. Only what shows them is loaded first.

import { allPhotos, keepLooking, later, listed, times } from "./api.js";
import { Grid, whenSeen } from "./grid.js";
import { count, hour, number, say, tell } from "./say.js";

const part = (id) => document.getElementById(id);
let viewer = null;
// A tap that comes before the viewer is there opens the photo as a link does.
const grid = new Grid(part("all"), (list, id) => Boolean(viewer) && viewer.open(list, id));

let narrow = "";
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
  // With a choice made, how many there are is known at the end only.
  if (narrow) grid.total = next ? 0 : photos.length;
  grid.set(photos);
  part("nothing").hidden = photos.length > 0;
  part("more-part").hidden = !next;
  if (viewer) viewer.refresh();
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

function tellTotal(total) {
  if (!narrow) grid.total = total;
  part("count").textContent = total ? count("photos", total) : "";
}

async function look() {
  const asked = narrow;
  const answer = await allPhotos(narrow, null, etag);
  if (answer.code === "gallery-closed") location.reload();
  if (answer.code !== "ok" || asked !== narrow) return answer.code;
  etag = answer.etag;
  const page = answer.body;
  tellTotal(page.counts.indexed + page.counts.received);
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
  const asked = narrow;
  const answer = await allPhotos(narrow, next);
  loading = false;
  if (answer.code !== "ok" || asked !== narrow) return;
  next = answer.body.next;
  const shown = new Set(grid.photos.map((photo) => photo.id));
  show(grid.photos.concat(answer.body.photos.filter((photo) => !shown.has(photo.id))));
}

grid.nearEnd = more;
const ahead = listed();
if (ahead) tellTotal(ahead.total);
if (ahead) show(ahead.photos);
part("more").addEventListener("click", more);
part("newer").addEventListener("click", () => {
  if (waiting) prepend(waiting);
  scrollTo(0, 0);
});
const lookNow = keepLooking(look, ["indexed", "removed"], (offline) => tell("connection", offline ? say("offline") : ""));

/** The hours to choose from; asked for when somebody reaches for them. */
async function fillHours() {
  const answer = await times();
  if (answer.code !== "ok") return;
  const choice = part("when");
  const chosen = choice.value;
  const fixed = [...choice.options].filter((option) => !option.dataset.hour);
  const hours = answer.body.map((each) => {
    const option = new Option(say("hour", { n: hour(each.hour), of: number(each.photos) }), `from=${each.hour}:00&to=${each.hour}:60`);
    option.dataset.hour = each.hour;
    return option;
  });
  choice.replaceChildren(...fixed, ...hours);
  choice.value = chosen;
}

part("when").addEventListener("change", () => {
  narrow = part("when").value;
  [etag, next, waiting] = [null, null, null];
  grid.set([]);
  scrollTo(0, 0);
  lookNow();
});
part("when").addEventListener("focus", fillHours);

// The line is the photos' first.
whenSeen(grid).then(async () => {
  const [module] = await Promise.all(["viewer.js", "expiry.js", "shell.js"].map(later));
  viewer = new module.Viewer(part("viewer"));
  document.documentElement.dataset.ready = "";
  fillHours();
});
