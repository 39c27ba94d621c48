// The guest's own page: selfie, then the photos that were found, kept up to date while the page is looked at.

import { keepLooking, myPhotos, sayMine } from "./api.js";
import "./expiry.js";
import { Grid, describe as called } from "./grid.js";
import { warn, yourData } from "./held.js";
import { neverForm } from "./never.js";
import { count, say } from "./say.js";
import { selfieForm } from "./selfie.js";
import { Viewer } from "./viewer.js";
import { saveAll } from "./zip.js";

const part = (id) => document.getElementById(id);

// Where nobody is looked for by face, the page has none of these.
if (part("selfie")) start();

function start() {
  const viewer = new Viewer(part("viewer"));
  const open = (grid, id) => viewer.open(grid, id);
  const [you, maybe] = [new Grid(part("you"), open), new Grid(part("maybe"), open, verdict)];
  const form = selfieForm(found, () => enrolled(true));
  const data = yourData(gone);
  let etag = null;
  let first = true;
  saveAll();

  /** Shows what there is for somebody who is, or is not, enrolled. */
  function enrolled(is) {
    for (const id of ["found", "new-selfie", "erase", "add-person"]) part(id).hidden = !is;
    if (is) part("selfie").hidden = true;
  }

  function showPhotos(photos) {
    const mine = photos.filter((photo) => photo.band !== "maybe");
    const fresh = you.set(mine);
    const less = photos.filter((photo) => photo.band === "maybe");
    // Shown before it is filled: what has no width has no rows.
    part("maybe-part").hidden = less.length === 0;
    maybe.set(less);
    part("nothing").hidden = mine.length > 0;
    part("save-all").hidden = mine.length < 2;
    const said = mine.length ? [count("photos", mine.length)] : [];
    if (fresh && !first) said.push(count("arrived", fresh));
    part("found-count").textContent = said.join(" · ");
    viewer.refresh();
  }

  /** «Me» and «not me» on a photo: where it goes from here. */
  function verdict(photo) {
    const box = document.createElement("div");
    box.className = "verdict";
    for (const [mine, key] of [[true, "mine"], [false, "not-mine"]]) {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = say(key);
      button.setAttribute("aria-label", `${say(key)}: ${called(photo)}`);
      button.addEventListener("click", async () => {
        for (const each of box.children) each.disabled = true;
        const answer = await sayMine(photo, mine);
        for (const each of box.children) each.disabled = false;
        warn(answer.code === "ok" ? "" : say(answer.code === "offline" ? "offline" : "failed"));
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

  const lookNow = keepLooking(look, ["you", "maybe", "removed"], (offline) => {
    part("connection").hidden = !offline;
    part("connection").textContent = offline ? say("offline") : "";
  });

  /** What was shown is of another picture, or of nobody any more. */
  function forget() {
    etag = null;
    first = true;
    data.hide();
  }

  function found() {
    forget();
    part("receipt").hidden = true;
    enrolled(true);
    scrollTo(0, 0);
    part("found-title").focus({ preventScroll: true });
    lookNow();
  }

  function gone() {
    showPhotos([]);
    forget();
    enrolled(false);
    form.ask(false);
  }

  neverForm(() => {
    showPhotos([]);
    forget();
    enrolled(false);
  });

  function askAgain(person) {
    part("found").hidden = true;
    form.ask(true, person);
    scrollTo(0, 0);
    part("consent").focus({ preventScroll: true });
  }

  part("new-selfie").addEventListener("click", () => askAgain(0));
  part("add-person").addEventListener("click", async () => {
    const person = await form.nextPerson();
    warn(person === null ? say("people-full") : "");
    if (person !== null) askAgain(person);
  });
}
