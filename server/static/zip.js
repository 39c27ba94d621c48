// All photos of the guest in one file, with what is still to come shown. A very large one is left to the browser, which
// writes it to its disk as it comes; this would hold it in memory.

import { say, size } from "./say.js";

const part = (id) => document.getElementById(id);

/** Bytes up to which the page itself fetches. */
const MOST = 300e6;

/** Gives a blob to the browser as a download. */
export function hand(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(link.href), 60e3);
}

/** Wires the link: with progress where the browser can, as a plain link else. */
export function saveAll() {
  const [link, progress, said, stop] = [part("zip"), part("zip-progress"), part("zip-said"), part("zip-stop")];
  if (!window.ReadableStream || !window.AbortController) return;
  let going = null;

  async function fetchAll(signal) {
    const response = await fetch(link.href, { credentials: "same-origin", cache: "no-store", signal });
    if (!response.ok) throw new Error(response.status);
    const all = Number(response.headers.get("content-length"));
    if (!all || all > MOST) return null;
    const named = /filename\*=UTF-8''([^;]+)/i.exec(response.headers.get("content-disposition") || "");
    const reader = response.body.getReader();
    const pieces = [];
    let [have, told] = [0, 0];
    for (;;) {
      const { done, value } = await reader.read();
      if (done) break;
      pieces.push(value);
      have += value.length;
      progress.value = have / all;
      // Read out by screen readers: now and then is enough.
      if (have - told > all / 10) said.textContent = say("zip-part", { n: size(have), of: size(all) });
      if (have - told > all / 10) told = have;
    }
    if (have !== all) throw new Error("cut off");
    hand(new Blob(pieces, { type: "application/zip" }), named ? decodeURIComponent(named[1]) : "photos.zip");
    return all;
  }

  link.addEventListener("click", async (event) => {
    event.preventDefault();
    if (going) return;
    going = new AbortController();
    part("zip-part").hidden = false;
    progress.value = 0;
    said.textContent = say("zip-begins");
    stop.hidden = false;
    try {
      const all = await fetchAll(going.signal);
      if (all === null) {
        going.abort();
        location.assign(link.href);
      }
      said.textContent = all === null ? say("zip-browser") : say("zip-done", { n: size(all) });
    } catch (error) {
      said.textContent = say(error.name === "AbortError" ? "zip-stopped" : "zip-failed");
    }
    stop.hidden = true;
    going = null;
  });
  stop.addEventListener("click", () => going && going.abort());
}
