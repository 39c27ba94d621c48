// How long the photos stay: counted down in days, near the end in hours.

import { language, say } from "./say.js";

const line = document.getElementById("expiry");
const HOUR = 3600e3;

function tell() {
  const left = new Date(line.dataset.until) - Date.now();
  const hours = Math.max(0, Math.floor(left / HOUR));
  const words = new Intl.RelativeTimeFormat(language, { numeric: "always" });
  const when = hours < 48 ? words.format(hours, "hour") : words.format(Math.floor(hours / 24), "day");
  line.querySelector("span").textContent = say("expires", { n: when });
  line.classList.toggle("note", hours < 48);
  line.hidden = false;
}

if (line) {
  tell();
  setInterval(tell, HOUR / 4);
}
