// Photos for a screen in the room: only what every guest may see, the newest first, new ones as soon as they are there.

import { follow, photos, preview } from "./desk.js";

const part = (id) => document.getElementById(id);
const SECONDS = 6;
/** Photos that are shown in turn. */
const ROUND = 60;

let turn = [];
let fresh = [];
let at = 0;
const seen = new Set();
const [one, two] = document.querySelectorAll(".slide");
let front = one;

async function look() {
  const answer = await photos(null, ROUND);
  if (answer.code === "token-refused") return location.reload();
  if (answer.code !== "ok") return;
  const open = answer.body.photos.filter((photo) => photo.width && photo.state !== "failed" && photo.visibility === "shown");
  const first = turn.length === 0;
  // On its first look everything is new to the page, not to the room.
  if (!first) fresh = open.filter((photo) => !seen.has(photo.id)).concat(fresh.filter((old) => open.some((p) => p.id === old.id)));
  for (const photo of open) seen.add(photo.id);
  // Those with a star come twice as often.
  turn = open.concat(open.filter((photo) => photo.featured));
  part("waiting").hidden = turn.length > 0;
  if (!turn.some((photo) => photo.id === front.dataset.id)) step();
}

/** The next photo: a new one when there is one. */
function step() {
  const photo = fresh.pop() || turn[at++ % Math.max(1, turn.length)];
  const back = front === one ? two : one;
  if (!photo) {
    front.classList.remove("there");
    front.removeAttribute("data-id");
    return;
  }
  back.onload = () => {
    back.classList.add("there");
    front.classList.remove("there");
    front = back;
  };
  back.dataset.id = photo.id;
  back.src = preview(photo);
}

part("whole-screen").hidden = !document.documentElement.requestFullscreen;
part("whole-screen").addEventListener("click", () => part("wall").requestFullscreen());
if ("open" in part("wall").dataset) {
  setInterval(step, SECONDS * 1000);
  follow(look, 15000, ["indexed", "removed"]);
}
