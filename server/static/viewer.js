// One photo, full screen: arrow keys, swipe, Escape or the phone's back button, and the focus goes back where it was.

import { original, preview, report, thumb } from "./api.js";
import { sure } from "./ask.js";
import { describe } from "./grid.js";
import { cameraTime, number, say } from "./say.js";

/** Longer sides of the pictures that the server makes, in pixels. */
const THUMB = 480;
const PREVIEW = 2048;

/** A finger that moved this far, in CSS pixels, meant the next photo. */
const SWIPE = 48;

export class Viewer {
  constructor(dialog) {
    this.dialog = dialog;
    this.find = (name) => dialog.querySelector(name);
    this.grid = null;
    this.id = null;
    this.find(".close").addEventListener("click", () => this.close());
    this.find(".previous").addEventListener("click", () => this.step(-1));
    this.find(".next").addEventListener("click", () => this.step(1));
    this.find(".report").addEventListener("click", () => this.report());
    this.find(".share").addEventListener("click", () => this.share());
    // A sheet that takes files: secure contexts on phones, mostly.
    const probe = window.File && navigator.canShare && navigator.canShare({ files: [new File([""], "a.jpg", { type: "image/jpeg" })] });
    this.find(".share").hidden = !probe;
    dialog.addEventListener("keydown", (event) => {
      if (event.key === "ArrowLeft") this.step(-1);
      else if (event.key === "ArrowRight") this.step(1);
    });
    dialog.addEventListener("close", () => this.closed());
    addEventListener("popstate", () => dialog.open && dialog.close());
    this.listenForSwipes(this.find(".stage"));
    const large = this.find(".large");
    large.addEventListener("load", () => large.classList.add("there"));
  }

  /** Shows a photo of a grid; false where the browser has no dialogs. */
  open(grid, id) {
    if (!this.dialog.showModal) return false;
    this.grid = grid;
    this.show(id);
    this.dialog.showModal();
    // The phone's back button closes the photo and does not leave the page.
    history.pushState({ viewer: true }, "");
    return true;
  }

  close() {
    // Going back closes by way of `popstate`.
    if (history.state && history.state.viewer) history.back();
    else this.dialog.close();
  }

  closed() {
    this.ready = null;
    if (history.state && history.state.viewer) history.back();
    if (this.grid) this.grid.focus(this.id);
    this.find(".large").removeAttribute("src");
    this.find(".large").removeAttribute("srcset");
  }

  index() {
    return this.grid.photos.findIndex((photo) => photo.id === this.id);
  }

  step(by) {
    const photo = this.grid.photos[this.index() + by];
    if (photo) this.show(photo.id);
  }

  /** The grid changed underneath: positions and arrows too. */
  refresh() {
    if (!this.dialog.open) return;
    if (this.index() < 0) this.close();
    else this.label();
  }

  show(id) {
    this.id = id;
    const photo = this.grid.photos[this.index()];
    const [small, large] = [this.find(".small"), this.find(".large")];
    const ratio = photo.width && photo.height ? photo.width / photo.height : 1.5;
    const across = (side) => Math.round(side * Math.min(1, ratio));
    large.classList.remove("there");
    // Widths of the picture on this screen: as wide as it, or as its height allows.
    large.sizes = `min(100vw, ${(100 * ratio).toFixed(1)}vh)`;
    large.srcset = `${thumb(photo)} ${across(THUMB)}w, ${preview(photo)} ${across(PREVIEW)}w`;
    large.src = preview(photo);
    large.alt = describe(photo);
    // The thumbnail is in the browser's cache already: something is to be seen at once.
    small.src = this.grid.seen(photo);
    const save = this.find(".save");
    save.href = original(photo);
    save.download = photo.name;
    this.find(".when").textContent = (photo.taken_at && cameraTime(photo.taken_at)) || "";
    this.find(".said").hidden = true;
    this.label();
  }

  label() {
    const at = this.index();
    const of = Math.max(this.grid.total, this.grid.photos.length);
    const loaded = this.grid.photos.length;
    this.find(".where").textContent = say("position", { n: number(at + 1), of: number(of) });
    this.find(".previous").disabled = at === 0;
    this.find(".next").disabled = at === loaded - 1;
    // Loaded a little ahead, so that nobody has to wait at the end.
    if (at > loaded - 8) this.grid.nearEnd();
  }

  /** Gives the photo to the phone's share sheet, where it can be saved among its own photos. */
  async share() {
    const photo = this.grid.photos[this.index()];
    const said = this.find(".said");
    const tell = (key) => {
      said.textContent = key ? say(key) : "";
      said.hidden = !key;
    };
    try {
      if (!this.ready || this.ready.id !== photo.id) {
        tell("share-loads");
        const response = await fetch(original(photo), { credentials: "same-origin" });
        if (!response.ok) throw new Error(response.status);
        const blob = await response.blob();
        this.ready = { id: photo.id, file: new File([blob], photo.name, { type: blob.type || "image/jpeg" }) };
        tell(null);
      }
      await navigator.share({ files: [this.ready.file] });
    } catch (error) {
      // Loading took longer than a tap counts for: one more tap and it is there.
      if (error.name === "NotAllowedError") tell("share-again");
      else if (error.name !== "AbortError") tell("report-failed");
    }
  }

  /** Asks, takes the photo down, and says what came of it. */
  async report() {
    const photo = this.grid.photos[this.index()];
    if (!photo || !(await sure(document.getElementById("report-dialog"), say("report-ask")))) return;
    const answer = await report(photo);
    const done = answer.code === "ok" && !answer.body.hidden ? "report-waits" : "report-done";
    const words = { "ok": done, "not-found": "report-done", "too-many-requests": "report-many" };
    const said = this.find(".said");
    said.textContent = say(words[answer.code] || "report-failed");
    said.hidden = false;
  }

  listenForSwipes(stage) {
    let start = null;
    const move = (by) => (stage.style.transform = by ? `translateX(${by}px)` : "");
    stage.addEventListener("pointerdown", (event) => {
      // A second finger is a pinch: the browser's own.
      start = event.isPrimary ? event.clientX : null;
    });
    stage.addEventListener("pointermove", (event) => {
      if (start !== null && event.isPrimary) move(event.clientX - start);
    });
    const end = (event) => {
      if (start === null) return;
      const by = event.type === "pointerup" ? event.clientX - start : 0;
      start = null;
      move(0);
      if (Math.abs(by) > SWIPE) this.step(by < 0 ? 1 : -1);
    };
    stage.addEventListener("pointerup", end);
    stage.addEventListener("pointercancel", end);
  }
}
