// A grid of photos: tiles as wide as their photo asks for, in rows that fill the page, nothing cropped. The size of each
// is known before its picture is, so that nothing ever jumps.

import { thumb, preview } from "./api.js";
import { say, cameraTime } from "./say.js";

const tile = document.getElementById("tile");

/** What a photo is called for those who do not see it. */
export function describe(photo) {
  const when = photo.taken_at && cameraTime(photo.taken_at);
  return when ? say("photo-at", { n: when }) : say("photo-named", { n: photo.name });
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
    this.tiles = new Map();
  }

  /** Shows exactly these photos in this order. Tiles that stay are not touched. Returns how many are new. */
  set(photos) {
    const wanted = new Set(photos.map((photo) => photo.id));
    for (const [id, li] of this.tiles) {
      if (!wanted.has(id)) {
        li.remove();
        this.tiles.delete(id);
      }
    }
    let fresh = 0;
    let at = this.list.firstElementChild;
    for (const photo of photos) {
      let li = this.tiles.get(photo.id);
      if (!li) {
        li = this.makeTile(photo);
        this.tiles.set(photo.id, li);
        fresh += 1;
      }
      if (li === at) at = at.nextElementSibling;
      else this.list.insertBefore(li, at);
    }
    this.photos = photos;
    this.list.classList.remove("waiting");
    return fresh;
  }

  /** The link of a photo, for the focus to return to. */
  link(id) {
    const li = this.tiles.get(id);
    return li && li.firstElementChild;
  }

  makeTile(photo) {
    const li = tile.content.firstElementChild.cloneNode(true);
    const link = li.firstElementChild;
    const img = link.firstElementChild;
    // A photo that was not decoded yet has no size; it is shown as a landscape until it has.
    const width = photo.width || 3;
    const height = photo.height || 2;
    // Very wide and very tall ones would make rows that nobody can use.
    li.style.setProperty("--ratio", Math.min(3, Math.max(0.5, width / height)).toFixed(4));
    img.width = width;
    img.height = height;
    img.alt = describe(photo);
    img.addEventListener("error", () => li.classList.add("broken"));
    img.src = thumb(photo);
    // Without a dialog element (old phones) the link itself shows the photo.
    link.href = preview(photo);
    link.addEventListener("click", (event) => {
      if (event.ctrlKey || event.metaKey || event.shiftKey || !this.open(this, photo.id)) return;
      event.preventDefault();
    });
    if (this.under) li.append(this.under(photo));
    return li;
  }
}
