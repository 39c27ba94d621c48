// The guest's own page: selfie, then the photos that were found, kept up to date while the page is looked at.

import { erase, held, keepLooking, myPhotos, sayMine } from "./api.js";
import { sure } from "./ask.js";
import { Grid, describe as called } from "./grid.js";
import { neverForm } from "./never.js";
import { count, locale, moment, say } from "./say.js";
import { selfieForm } from "./selfie.js";
import { Viewer } from "./viewer.js";

const part = (id) => document.getElementById(id);

// Where nobody is looked for by face, the page has none of these.
if (part("selfie")) start();

function start() {
  const viewer = new Viewer(part("viewer"));
  const open = (grid, id) => viewer.open(grid, id);
  const [you, maybe] = [new Grid(part("you"), open), new Grid(part("maybe"), open, verdict)];
  const form = selfieForm(found, () => enrolled(true));
  let etag = null;
  let first = true;

  /** Shows what there is for somebody who is, or is not, enrolled. */
  function enrolled(is) {
    for (const id of ["found", "new-selfie", "erase"]) part(id).hidden = !is;
    if (is) part("selfie").hidden = true;
  }

  function showPhotos(photos) {
    const mine = photos.filter((photo) => photo.band !== "maybe");
    const fresh = you.set(mine);
    maybe.set(photos.filter((photo) => photo.band === "maybe"));
    part("nothing").hidden = mine.length > 0;
    part("save-all").hidden = mine.length < 2;
    part("maybe-part").hidden = maybe.photos.length === 0;
    const said = mine.length ? [count("photos", mine.length)] : [];
    if (fresh && !first) said.push(count("arrived", fresh));
    part("found-count").textContent = said.join(" · ");
    first = false;
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
    const answer = await myPhotos(etag);
    if (answer.code === "ok" && !part("found").hidden) {
      etag = answer.etag;
      showPhotos(answer.body);
    }
    return answer.code;
  }

  const lookNow = keepLooking(look, ["you", "maybe", "removed"], (offline) => {
    part("connection").hidden = !offline;
    part("connection").textContent = offline ? say("offline") : "";
  });

  function found() {
    etag = null;
    first = true;
    part("receipt").hidden = true;
    hideHeld();
    enrolled(true);
    scrollTo(0, 0);
    part("found-title").focus({ preventScroll: true });
    lookNow();
  }

  neverForm(() => {
    showPhotos([]);
    etag = null;
    enrolled(false);
    hideHeld();
  });

  part("new-selfie").addEventListener("click", () => {
    part("found").hidden = true;
    form.ask(true);
    scrollTo(0, 0);
    part("consent").focus({ preventScroll: true });
  });

  part("show-held").addEventListener("click", () => (part("held").hidden ? showHeld() : hideHeld()));

  async function showHeld() {
    const answer = await held();
    warn("");
    if (answer.code !== "ok") {
      warn(say(answer.code === "offline" ? "offline" : "failed"));
      return;
    }
    const { body } = answer;
    const consents = body.consents.map((consent) =>
      say("held-consent", { n: moment(consent.given_at), text: consent.text, language: consent.language }),
    );
    describe(part("held-list"), [
      [say("held-event"), [body.event]],
      [say("held-joined"), [moment(body.joined_at)]],
      [say("held-selfie"), [say("held-no-selfie")]],
      [say("held-vectors"), [number(body.enrolments)]],
      [say("held-consents"), consents.length ? consents : [say("none")]],
      [say("held-matches"), [number(body.matches.length)]],
      [say("held-never"), [say(body.never_matched ? "yes" : body.never_match_held ? "held-never-held" : "no")]],
    ]);
    part("held").hidden = false;
    part("show-held").setAttribute("aria-expanded", "true");
  }

  function hideHeld() {
    part("held").hidden = true;
    part("show-held").setAttribute("aria-expanded", "false");
  }

  part("erase").addEventListener("click", async () => {
    if (!(await sure(part("erase-dialog"), say("erase-ask")))) return;
    const answer = await erase();
    warn("");
    if (answer.code !== "ok") {
      warn(say("erase-failed"));
      return;
    }
    showPhotos([]);
    etag = null;
    enrolled(false);
    hideHeld();
    form.ask(false);
    const receipt = answer.body;
    describe(part("receipt-list"), [
      [say("erased-vectors"), [number(receipt.enrolments)]],
      [say("erased-consents"), [number(receipt.consents)]],
      [say("erased-matches"), [number(receipt.matches)]],
      [say("erased-at"), [moment(receipt.erased_at)]],
      ...(receipt.never_matched ? [[say("held-never"), [say("erased-never")]]] : []),
      ...(receipt.never_match_held ? [[say("held-never"), [say("held-never-held")]]] : []),
    ]);
    part("receipt").hidden = false;
    scrollTo(0, 0);
    part("receipt").focus({ preventScroll: true });
  });
}

const number = (n) => n.toLocaleString(locale);

/** Says what went wrong beside the buttons that were pressed; nothing when there is no text. */
function warn(text) {
  part("yours-problem").textContent = text;
  part("yours-problem").hidden = !text;
}

/** Fills a description list with [term, values] pairs. */
function describe(list, pairs) {
  list.textContent = "";
  for (const [term, values] of pairs) {
    const dt = document.createElement("dt");
    dt.textContent = term;
    list.append(dt);
    for (const value of values) {
      const dd = document.createElement("dd");
      dd.textContent = value;
      list.append(dd);
    }
  }
}
