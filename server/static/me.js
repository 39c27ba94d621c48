// The guest's own page: the photos that were found, kept up to date while the page is looked at. Only what shows them is
// loaded first; what one does with them comes a moment later, see mine.js.

import { keepLooking, later, listed, myPhotos, sayMine } from "./api.js";
import { Grid, describe, whenSeen } from "./grid.js";
import { count, say, tell } from "./say.js";

const part = (id) => document.getElementById(id);

// Where nobody is looked for by face, the page has none of these.
if (part("selfie")) start();
else later("shell.js");

function start() {
  let viewer = null;
  // A tap that comes before the rest is there opens the photo as a link does.
  const open = (grid, id) => Boolean(viewer) && viewer.open(grid, id);
  const [you, maybe] = [new Grid(part("you"), open), new Grid(part("maybe"), open, verdict)];
  let etag = null;
  let first = true;

  /** Shows what there is for somebody who is, or is not, enrolled. */
  function enrolled(is) {
    for (const id of ["found", "new-selfie", "erase", "add-person"]) part(id).hidden = !is;
    if (is) part("selfie").hidden = true;
  }

  /** `all`: how many there are, where not all of them are known yet. */
  function showPhotos(photos, all) {
    const mine = photos.filter((photo) => photo.band !== "maybe");
    const total = all || mine.length;
    you.total = total;
    const fresh = you.set(mine);
    const less = photos.filter((photo) => photo.band === "maybe");
    // Shown before it is filled: what has no width has no rows.
    part("maybe-part").hidden = less.length === 0;
    maybe.set(less);
    part("nothing").hidden = total > 0;
    part("save-all").hidden = total < 2;
    const said = total ? [count("photos", total)] : [];
    if (fresh && !first) said.push(count("arrived", fresh));
    part("found-count").textContent = said.join(" · ");
    if (viewer) viewer.refresh();
  }

  /** «Me» and «not me» on a photo: where it goes from here. */
  function verdict(photo) {
    const box = document.createElement("div");
    box.className = "verdict";
    for (const [mine, key] of [[true, "mine"], [false, "not-mine"]]) {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = say(key);
      button.setAttribute("aria-label", `${say(key)}: ${describe(photo)}`);
      button.addEventListener("click", async () => {
        for (const each of box.children) each.disabled = true;
        const answer = await sayMine(photo, mine);
        for (const each of box.children) each.disabled = false;
        tell("yours-problem", answer.code === "ok" ? "" : say(answer.code === "offline" ? "offline" : "failed"));
        part("maybe-title").focus({ preventScroll: true });
        lookNow();
      });
      box.append(button);
    }
    return box;
  }

  async function look() {
    if (part("found").hidden) return "ok";
    const answer = await myPhotos(etag, (some) => first && showPhotos(some));
    if (answer.code === "ok" && !part("found").hidden) {
      etag = answer.etag;
      showPhotos(answer.body);
      first = false;
    }
    return answer.code;
  }

  const ahead = listed();
  if (ahead) showPhotos(ahead.photos, ahead.total);
  const lookNow = keepLooking(look, ["you", "maybe", "removed"], (offline) => tell("connection", offline ? say("offline") : ""));

  /** What was shown is of another picture, or of nobody any more. */
  function forget() {
    etag = null;
    first = true;
  }

  const rest = async () => {
    const { wire } = await later("mine.js");
    viewer = wire({ enrolled, showPhotos, forget, lookNow });
  };
  // The line is the photos' first.
  if (part("found").hidden) rest();
  else whenSeen(you).then(rest);
}
