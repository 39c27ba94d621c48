// A question with yes and no, in the page's own dialog, or in the browser's where it knows none.

/** Resolves to whether the answer was yes. */
export function sure(dialog, question) {
  if (!dialog.showModal) return Promise.resolve(confirm(question));
  dialog.returnValue = "no";
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes"), { once: true });
  });
}
