// A phone's picture, made small before it is sent: a face needs no twelve megapixels, and the Wi-Fi of a venue is slow.

/** Longer side that is sent, in pixels: about twice what the server looks at. Sending it is most of what the guest waits for. */
const SIDE = 1200;

/** Pictures up to this many bytes are sent as they are. */
const SMALL = 256 * 1024;

/** The picture to send: smaller and upright where the browser can do that, else as it is. */
export async function shrink(file) {
  // A browser that does not turn pictures upright would lose the camera's note which way is up.
  const upright = window.CSS && CSS.supports && CSS.supports("image-orientation", "from-image");
  if (file.size <= SMALL || !upright) return file;
  const url = URL.createObjectURL(file);
  try {
    const picture = await load(url);
    const scale = SIDE / Math.max(picture.naturalWidth, picture.naturalHeight);
    if (scale >= 1) return file;
    const canvas = document.createElement("canvas");
    canvas.width = Math.round(picture.naturalWidth * scale);
    canvas.height = Math.round(picture.naturalHeight * scale);
    canvas.getContext("2d").drawImage(picture, 0, 0, canvas.width, canvas.height);
    const blob = await new Promise((resolve) => canvas.toBlob(resolve, "image/jpeg", 0.85));
    return blob || file;
  } catch {
    // What this browser cannot read, the server may.
    return file;
  } finally {
    URL.revokeObjectURL(url);
  }
}

function load(url) {
  return new Promise((resolve, reject) => {
    const picture = new Image();
    picture.onload = () => resolve(picture);
    picture.onerror = reject;
    picture.src = url;
  });
}
