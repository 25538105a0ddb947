// The image of a message, for the pages of the classic chats, which load this before their own scripts.
'use strict';

/** An `<img>` for the image that the server describes; undefined where that is none, or not one of the server's. */
function messageImage(described) {
  if (typeof described?.url !== 'string') return undefined;
  const { url, width, height, alt } = described;
  let address;
  try {
    address = new URL(url, location.href);
  } catch {
    return undefined;
  }
  // That it is this server's is what the page's content security policy says.
  if (!/^https?:$/.test(address.protocol) || !/\/images\/[0-9a-f]{32}$/.test(address.pathname)) return undefined;
  const image = new Image();
  // Its size is known before it is loaded, so that the log does not move.
  if (width > 0 && height > 0) Object.assign(image, { width, height });
  image.src = address.href;
  image.alt = alt || 'Image';
  return image;
}
