// The page that stands in for one that cannot be reached: goes on by itself when there is a connection again.

async function look() {
  try {
    if ((await fetch("/livez", { cache: "no-store" })).ok) location.reload();
  } catch {
    // Still none.
  }
}

setInterval(look, 4000);
addEventListener("online", look);
document.getElementById("again").addEventListener("click", look);
