// The photographer's board: how the event stands, and its photos to release, show, hide, try again and delete.

import { sure } from "./ask.js";
import { board, change, follow, photos, preview, remove, signOut, thumb, thumbs } from "./desk.js";
import { describe } from "./grid.js";
import { count, lately, locale, number, say } from "./say.js";

const part = (id) => document.getElementById(id);
const PAGE = 200;
/** A machine that was not heard of for so long (milliseconds) is asleep, off or out of reach. */
const QUIET = 180e3;

let listed = [];
let next = null;
let filter = "all";
const chosen = new Set();
const tiles = new Map();

const seconds = (ms) => (ms / 1000).toLocaleString(locale, { maximumFractionDigits: ms < 9950 ? 1 : 0 });

function figures(body) {
  const all = body.counts.received + body.counts.indexed + body.counts.failed;
  const show = (id, text) => (part(id).textContent = text);
  show("received", number(all));
  show("indexed", number(body.counts.indexed));
  show("failed", number(body.counts.failed));
  show("rate", (body.received_lately / 10).toLocaleString(locale, { maximumFractionDigits: 1 }));
  const delay = body.to_guests;
  show("delay", delay ? say("seconds", { n: seconds(delay.p50_ms), of: seconds(delay.p95_ms) }) : "–");
  // What is counted from when: a client that does not tell when files were closed is not credited with it.
  if (delay) show("delay-from", say(`delay-${delay.from}`));
  show("joined", number(body.guests.joined));
  show("enrolled", number(body.guests.enrolled));
  show("without-photo", number(body.guests.without_photo));
  part("closed").hidden = !body.closed;
  part("faces-wait").hidden = !body.faces_wait;
  const counts = { all, held: body.counts.held || 0, reported: body.counts.reported || 0, failed: body.counts.failed };
  for (const b of document.querySelectorAll("[data-count]")) {
    const n = counts[b.dataset.count];
    b.textContent = n === undefined ? "" : number(n);
  }
}

function machines(list) {
  part("machines").replaceChildren(
    ...list.map((machine) => {
      const li = document.createElement("li");
      const name = document.createElement("b");
      name.textContent = machine.label;
      const facts = [
        machine.last_seen ? say("seen", { n: lately(machine.last_seen) }) : say("never-seen"),
        machine.last_photo && say("last-photo", { n: lately(machine.last_photo) }),
        count("uploads", machine.uploads),
      ];
      const quiet = machine.last_seen && Date.now() - new Date(machine.last_seen) > QUIET;
      li.className = !machine.last_seen ? "" : quiet ? "quiet" : "beats";
      li.append(name, ` · ${facts.concat(quiet && say("quiet")).filter(Boolean).join(" · ")}`);
      return li;
    })
  );
}

const belongs = {
  all: () => true,
  held: (photo) => photo.visibility === "held",
  reported: (photo) => photo.visibility === "reported",
  hidden: (photo) => photo.visibility === "hidden",
  failed: (photo) => photo.state === "failed",
  featured: (photo) => Boolean(photo.featured),
};

/** What a photo is marked with, in words: colours alone tell not everybody. */
function mark(photo) {
  if (photo.state === "failed") return say("mark-failed", { n: photo.reason || "" });
  if (photo.visibility !== "shown") return say(`mark-${photo.visibility}`);
  return photo.state === "received" ? say("mark-received") : "";
}

function tile(photo) {
  let li = tiles.get(photo.id);
  if (!li) {
    li = part("pick").content.firstElementChild.cloneNode(true);
    const [box, img] = [li.querySelector("input"), li.querySelector("img")];
    img.alt = describe(photo);
    img.addEventListener("error", () => li.classList.add("broken"));
    img.addEventListener("load", () => li.classList.remove("broken"));
    box.addEventListener("change", () => choose(photo.id, box.checked));
    li.addEventListener("dblclick", () => open(preview(photo), "_blank", "noopener"));
    tiles.set(photo.id, li);
  }
  const img = li.querySelector("img");
  // A photo that is not searchable yet has no thumbnail either.
  if (photo.width && !img.src) {
    img.srcset = thumbs(photo);
    img.src = thumb(photo);
  }
  li.querySelector("input").checked = chosen.has(photo.id);
  li.querySelector(".mark").textContent = mark(photo);
  li.classList.toggle("starred", Boolean(photo.featured));
  img.alt = describe(photo);
  return li;
}

const shown = () => listed.filter(belongs[filter]);

function draw() {
  const now = shown();
  const ids = new Set(listed.map((photo) => photo.id));
  for (const id of tiles.keys()) if (!ids.has(id)) tiles.delete(id);
  for (const id of chosen) if (!ids.has(id)) chosen.delete(id);
  part("photos").replaceChildren(...now.map(tile));
  part("nothing").hidden = now.length > 0 || Boolean(next);
  part("more-part").hidden = !next;
  actions();
}

function choose(id, yes) {
  if (yes) chosen.add(id);
  else chosen.delete(id);
  actions();
}

function actions() {
  if (part("actions").hidden) part("actions").querySelector(".line").scrollLeft = 0;
  part("actions").hidden = chosen.size === 0;
  part("chosen").textContent = chosen.size ? count("chosen", chosen.size) : "";
}

async function more() {
  const answer = await photos(next, PAGE);
  if (answer.code !== "ok") return;
  const known = new Set(listed.map((photo) => photo.id));
  listed = listed.concat(answer.body.photos.filter((photo) => !known.has(photo.id)));
  next = answer.body.next;
  draw();
  if (next && shown().length < PAGE && filter !== "all") await more();
}

/** The newest page takes the place of what it covers; what was loaded below it stays. */
async function look() {
  const [facts, page] = await Promise.all([board(), photos(null, PAGE)]);
  if (facts.code === "token-refused" || page.code === "token-refused") return location.reload();
  const offline = facts.code !== "ok" || page.code !== "ok";
  part("connection").hidden = !offline;
  part("connection").textContent = offline ? say("offline-desk") : "";
  if (offline) return;
  figures(facts.body);
  machines(facts.body.machines);
  const fresh = page.body.photos;
  const last = fresh[fresh.length - 1];
  const at = last && page.body.next ? listed.findIndex((photo) => photo.id === last.id) : -1;
  if (at < 0) next = page.body.next;
  const before = listed.length;
  listed = at < 0 ? fresh : fresh.concat(listed.slice(at + 1));
  if (before !== listed.length || JSON.stringify(fresh) !== look.seen) draw();
  look.seen = JSON.stringify(fresh);
}

async function act(what) {
  const ids = [...chosen];
  if (what === "delete" && !(await sure(part("delete-dialog"), say("delete-ask")))) return;
  let changed = 0;
  let failed = false;
  for (let at = 0; at < ids.length && !failed; at += what === "delete" ? 1 : 1000) {
    const answer = await (what === "delete" ? remove(ids[at]) : change(what, ids.slice(at, at + 1000)));
    failed = answer.code !== "ok";
    changed += failed ? 0 : answer.body.changed;
  }
  chosen.clear();
  // Loaded anew as far as it was: what lies below the first page may have changed too.
  const far = listed.length;
  listed = [];
  next = null;
  do await more();
  while (next && listed.length < far);
  await now();
  part("actions").hidden = false;
  part("chosen").textContent = failed ? say("not-done") : count("done", changed);
}

for (const button of document.querySelectorAll("[data-do]")) {
  button.addEventListener("click", () => act(button.dataset.do));
}
for (const radio of document.querySelectorAll("[name=filter]")) {
  radio.addEventListener("change", () => {
    filter = radio.value;
    chosen.clear();
    draw();
    if (next && filter !== "all") more();
  });
}
part("more").addEventListener("click", more);
part("choose-all").addEventListener("click", () => {
  for (const photo of shown()) chosen.add(photo.id);
  draw();
});
part("choose-none").addEventListener("click", () => {
  chosen.clear();
  draw();
});
part("sign-out").addEventListener("click", async () => {
  await signOut();
  location.reload();
});
const now = follow(look, 5000, ["received", "indexed", "failed", "removed"]);
