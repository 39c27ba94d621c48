// What every page of a guest has: the worker that says a clear word when there is no connection. It keeps the page's own
// files and never a photo. Browsers have it in secure contexts alone.

if ("serviceWorker" in navigator) {
  navigator.serviceWorker.register("/sw.js").catch(() => {
    // Works without, too.
  });
}
