// A grid of photos in rows that fill the page, nothing cropped. Only the rows near the screen are in the document, however
// many photos there are: places follow from the photos' sizes alone, so that nothing jumps when a picture arrives.

import { preview, small, thumb, thumbs } from "./api.js";
import { say, cameraTime } from "./say.js";

const tile = document.getElementById("tile");
const wide = matchMedia("(min-width: 40rem)");

/** Screens above and below the one that is looked at whose tiles are kept; none until the first pictures are there. */
const AHEAD = 1;
const FIRST = 1200;
/** Milliseconds after which what else there is need not wait for the first picture. */
const PATIENCE = 2500;
/** A picture that did not come is asked for again after so many milliseconds, twice as many each time, so often. */
const AGAIN = 2000;
const TRIES = 5;
/** Screens before the end from which on more photos are asked for. */
const SOON = 3;

/** What a photo is called for those who do not see it. */
export function describe(photo) {
  const when = photo.taken_at && cameraTime(photo.taken_at);
  const name = when ? say("photo-at", { n: when }) : say("photo-named", { n: photo.name });
  return photo.featured ? say("starred", { n: name }) : name;
}

/** Width by height as it is shown: very wide and very tall ones would make rows that nobody can use. */
const ratioOf = (photo) => Math.min(3, Math.max(0.5, (photo.width || 3) / (photo.height || 2)));

/** Resolves when the first picture of a grid is there, or it is clear that none will be soon. */
export function whenSeen(grid) {
  return new Promise((resolve) => {
    setTimeout(resolve, PATIENCE);
    grid.list.addEventListener("load", () => setTimeout(resolve), { capture: true, once: true });
  });
}

export class Grid {
  /**
   * @param open called with this grid and the id of a photo that was chosen
   * @param under makes what stands on a photo's tile, if anything
   */
  constructor(list, open, under) {
    this.list = list;
    this.open = open;
    this.under = under;
    this.photos = [];
    /** How many there are in all, where not all are loaded. */
    this.total = 0;
    /** Called when the end comes near. */
    this.nearEnd = () => {};
    this.tiles = new Map();
    this.rows = [];
    this.width = 0;
    this.wanted = 0;
    const later = () => this.drawSoon();
    addEventListener("scroll", later, { passive: true });
    addEventListener("resize", later);
    list.addEventListener("keydown", (event) => this.key(event));
    if (window.ResizeObserver) new ResizeObserver(() => this.resized()).observe(list);
  }

  /** Shows exactly these photos in this order. Tiles that stay are not touched. Returns how many are new. */
  set(photos) {
    const before = this.known || new Set();
    this.known = new Set(photos.map((photo) => photo.id));
    const fresh = photos.reduce((n, photo) => n + !before.has(photo.id), 0);
    const anchor = this.anchor();
    this.photos = photos;
    for (const [id, li] of this.tiles) if (!this.known.has(id)) this.drop(id, li);
    this.list.classList.remove("waiting");
    this.layOut();
    this.hold(anchor);
    this.draw();
    return fresh;
  }

  /** Rows from widths and a wanted height; each as high as it must be to fill the page. */
  layOut() {
    this.width = this.list.clientWidth;
    const [gap, height] = wide.matches ? [8, 208] : [4, 152];
    this.gap = gap;
    const rows = [];
    let [start, sum, top] = [0, 0, 0];
    const { photos, width } = this;
    for (let at = 0; at < photos.length; at += 1) {
      sum += ratioOf(photos[at]);
      const gaps = gap * (at - start);
      const last = at === photos.length - 1;
      if (sum * height + gaps < width && !last) continue;
      const fill = (width - gaps) / sum;
      // The last row keeps its height instead of filling the page.
      const high = last ? Math.min(wide.matches ? height : 1.5 * height, fill) : fill;
      rows.push({ start, end: at + 1, top, high });
      top += high + gap;
      [start, sum] = [at + 1, 0];
    }
    this.rows = rows;
    // Room for those that are not loaded yet: what follows the grid must not be pushed along while one reads on.
    const all = Math.max(this.total, photos.length) / Math.max(1, photos.length);
    this.list.style.height = `${Math.max(0, Math.round((top - gap) * all))}px`;
    const index = new Map(photos.map((photo, at) => [photo.id, at]));
    for (const [id, li] of this.tiles) {
      li.at = index.get(id);
      li.dataset.place = "";
    }
  }

  resized() {
    if (!this.photos.length || this.list.clientWidth === this.width) return;
    const anchor = this.anchor();
    this.layOut();
    this.hold(anchor);
    this.draw();
  }

  /** The row at a height below the list's upper edge. */
  rowAt(y) {
    let [low, high] = [0, this.rows.length - 1];
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (this.rows[middle].top <= y) low = middle;
      else high = middle - 1;
    }
    return low;
  }

  /** The photo that is looked at, and where: it stays there when photos come above it or the page is turned. */
  anchor() {
    const top = this.list.getBoundingClientRect().top;
    if (top >= 0 || !this.rows.length) return null;
    const row = this.rows[this.rowAt(-top)];
    return { id: this.photos[row.start].id, by: top + row.top };
  }

  hold(anchor) {
    if (!anchor) return;
    const at = this.photos.findIndex((photo) => photo.id === anchor.id);
    if (at < 0) return;
    const now = this.list.getBoundingClientRect().top + this.rowOf(at).top;
    if (Math.abs(now - anchor.by) > 1) scrollBy(0, now - anchor.by);
  }

  rowOf(at) {
    let [low, high] = [0, this.rows.length - 1];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.rows[middle].end > at) high = middle;
      else low = middle + 1;
    }
    return this.rows[low];
  }

  drawSoon() {
    if (this.wanted) return;
    this.wanted = requestAnimationFrame(() => {
      this.wanted = 0;
      this.draw();
    });
  }

  /** Tiles of the rows near the screen, in their order; and the row that has the focus. */
  draw() {
    if (!this.rows.length || !this.list.clientWidth) return;
    const box = this.list.getBoundingClientRect();
    const screen = innerHeight;
    if (!this.began) {
      this.began = performance.now();
      setTimeout(() => this.drawSoon(), FIRST);
    }
    const ahead = performance.now() - this.began < FIRST && !scrollY ? 0 : AHEAD;
    const [from, to] = [-box.top - ahead * screen, -box.top + (1 + ahead) * screen];
    const [first, last] = [this.rowAt(from), this.rowAt(to)];
    const wanted = new Set();
    if (this.rows[last].top >= from) {
      for (let row = first; row <= last; row += 1) this.drawRow(this.rows[row], wanted);
    }
    // Whoever has the focus stays where it is in the document, however far away.
    const held = document.activeElement && document.activeElement.closest("li");
    if (held && this.list.contains(held)) this.drawRow(this.rowOf(held.at), wanted);
    for (const [id, li] of this.tiles) if (!wanted.has(id)) this.drop(id, li);
    const end = this.rows[this.rows.length - 1];
    if (end.top + end.high < -box.top + (1 + SOON) * screen) this.nearEnd();
  }

  drawRow(row, wanted) {
    let left = 0;
    for (let at = row.start; at < row.end; at += 1) {
      const photo = this.photos[at];
      const across = ratioOf(photo) * row.high;
      wanted.add(photo.id);
      const li = this.tiles.get(photo.id) || this.makeTile(photo, at);
      this.place(li, at, left, row.top, across, row.high);
      left += across + this.gap;
    }
  }

  place(li, at, left, top, across, high) {
    const place = `${at} ${left.toFixed(1)} ${top.toFixed(1)} ${across.toFixed(1)}`;
    if (li.dataset.place === place) return;
    li.dataset.place = place;
    li.at = at;
    // Moved as a whole: that is no shift of the page's layout.
    li.style.transform = `translate(${left.toFixed(2)}px, ${top.toFixed(2)}px)`;
    li.style.width = `${across.toFixed(2)}px`;
    li.style.height = `${high.toFixed(2)}px`;
    li.setAttribute("aria-posinset", at + 1);
    li.setAttribute("aria-setsize", Math.max(this.total, this.photos.length));
    this.order(li);
  }

  /** Into its place in the document: the keyboard and screen readers go by that. */
  order(li) {
    const { list } = this;
    let before = li.parentNode ? li.previousElementSibling : list.lastElementChild;
    if (li.parentNode && !(before && before.at > li.at) && !(li.nextElementSibling && li.nextElementSibling.at < li.at)) return;
    before = list.lastElementChild;
    while (before && (before === li || before.at > li.at)) before = before.previousElementSibling;
    const next = before ? before.nextElementSibling : list.firstElementChild;
    if (next !== li) list.insertBefore(li, next);
  }

  drop(id, li) {
    // Who flings past a thousand photos does not wait for their pictures: the line is for what is looked at.
    const img = li.querySelector("img");
    img.removeAttribute("srcset");
    img.removeAttribute("src");
    li.remove();
    this.tiles.delete(id);
  }

  /** The link of a photo that is drawn. */
  link(id) {
    const li = this.tiles.get(id);
    return li && li.firstElementChild;
  }

  /** The picture of a photo that the browser has already, else its small thumbnail. */
  seen(photo) {
    const link = this.link(photo.id);
    return (link && link.firstElementChild.currentSrc) || small(photo);
  }

  /** Brings a photo onto the screen and gives it the focus. */
  focus(id) {
    const at = this.photos.findIndex((photo) => photo.id === id);
    if (at < 0) return;
    const row = this.rowOf(at);
    const top = this.list.getBoundingClientRect().top + row.top;
    if (top < 0) scrollBy(0, top - 8);
    else if (top + row.high > innerHeight) scrollBy(0, top + row.high - innerHeight + 8);
    this.draw();
    const link = this.link(id);
    if (link) link.focus({ preventScroll: true });
  }

  /** Arrows go through the photos, also those that are not drawn. */
  key(event) {
    const li = event.target.closest("li");
    if (!li || event.target.parentNode !== li || event.altKey || event.ctrlKey || event.metaKey) return;
    const { at } = li;
    const row = this.rowOf(at);
    const steps = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: this.photos.length - 1 };
    let to = steps[event.key];
    if (event.key === "ArrowDown" && row.end < this.photos.length) to = this.below(at, this.rowOf(row.end));
    if (event.key === "ArrowUp" && row.start > 0) to = this.below(at, this.rowOf(row.start - 1));
    if (to === undefined || !this.photos[to]) return;
    event.preventDefault();
    this.focus(this.photos[to].id);
  }

  /** The photo of another row that stands under or over the middle of one. */
  below(at, row) {
    const [left, across] = this.span(at);
    for (let other = row.start; other < row.end; other += 1) {
      const [start, width] = this.span(other);
      if (start + width > left + across / 2) return other;
    }
    return row.end - 1;
  }

  span(at) {
    const row = this.rowOf(at);
    let left = 0;
    for (let other = row.start; other < at; other += 1) left += ratioOf(this.photos[other]) * row.high + this.gap;
    return [left, ratioOf(this.photos[at]) * row.high];
  }

  makeTile(photo, at) {
    const li = tile.content.firstElementChild.cloneNode(true);
    const link = li.firstElementChild;
    const img = link.firstElementChild;
    img.alt = describe(photo);
    let tries = 0;
    img.addEventListener("load", () => li.classList.remove("broken"));
    img.addEventListener("error", () => {
      li.classList.add("broken");
      // A bad line, or too much asked at once: again a little later, while it is looked at.
      if (tries < TRIES) setTimeout(() => this.tiles.get(photo.id) === li && (img.srcset = thumbs(photo)), AGAIN << tries);
      tries += 1;
    });
    // The first screen's are wanted at once.
    if (at < 8) img.loading = "eager";
    if (at < 8) img.fetchPriority = "high";
    img.srcset = thumbs(photo);
    img.src = thumb(photo);
    li.classList.toggle("starred", Boolean(photo.featured));
    // Without a dialog element (old phones) the link itself shows the photo.
    link.href = preview(photo);
    link.addEventListener("click", (event) => {
      if (event.ctrlKey || event.metaKey || event.shiftKey || !this.open(this, photo.id)) return;
      event.preventDefault();
    });
    if (this.under) li.append(this.under(photo));
    li.at = at;
    this.tiles.set(photo.id, li);
    return li;
  }
}
