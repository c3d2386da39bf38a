// The photo that is shown large, with its caption and what the captioner says about it.

import { State } from "./album.js";
import { Attention, placeOf } from "./attention.js";
import { confidenceWords, percent } from "./confidence.js";
import { Words } from "./words.js";

const HINT = "Point at a word, or reach it by the arrow keys, to see where the captioner looked.";
const WAYS = {
  [State.WAITING]: "Waiting for its turn …",
  [State.ASKED]: "Looking at the photo …",
  [State.BUSY]: "The captioner is busy. Trying again in a moment …",
};

export class View {
  constructor() {
    const find = (id) => document.getElementById(id);
    this.parts = Object.fromEntries(
      ["shown", "photo", "image", "unseen", "looking", "trouble", "sure", "confidence", "fill",
        "confidence-words", "others", "alternatives", "copy", "again"].map((id) => [id, find(id)]),
    );
    this.attention = new Attention(find("attention"));
    this.words = new Words(find("words"), (index) => this.look(index));
    this.photo = null;
    this.maps = [];
  }

  /** Show a photo, or nothing for null, as far as it is known. */
  show(photo) {
    const { parts } = this;
    parts.shown.hidden = photo === null;
    if (photo !== this.photo) {
      this.photo = photo;
      this.showPhoto();
    }
    this.showState();
    this.showReply(photo?.reply ?? null);
  }

  showState() {
    const { state, problem } = this.photo ?? {};
    const { parts } = this;
    parts.photo.classList.toggle("under-way", state in WAYS);
    parts.trouble.textContent = problem?.message ?? WAYS[state] ?? "";
    parts.trouble.hidden = !parts.trouble.textContent;
    parts.trouble.classList.toggle("failed", Boolean(problem));
    parts.again.hidden = !problem?.again;
    parts.copy.hidden = state !== State.DONE;
  }

  showReply(reply) {
    const { parts } = this;
    this.maps = reply?.attention?.maps ?? [];
    this.words.clear();
    parts.sure.hidden = parts.others.hidden = reply === null;
    if (reply === null) {
      return;
    }
    parts.image.alt = reply.caption;
    const placed = this.maps.map(({ weights }) => `looked ${placeOf(weights)}`);
    this.words.show(reply.caption, this.maps.map(({ word }) => word), (index) => placed[index]);
    this.look(null);
    this.showConfidence(reply.confidence);
    const others = reply.alternatives ?? [];
    parts.others.hidden = others.length === 0;
    parts.alternatives.replaceChildren(...others.map(alternative));
    this.size(reply.image);
  }

  showConfidence(confidence) {
    const { parts } = this;
    const words = confidenceWords(confidence);
    parts["confidence-words"].textContent = words;
    parts.confidence.hidden = confidence === null;
    if (confidence !== null) {
      parts.confidence.setAttribute("aria-valuenow", Math.round(100 * confidence));
      parts.confidence.setAttribute("aria-valuetext", words);
      parts.fill.style.width = `${100 * confidence}%`;
    }
  }

  async showPhoto() {
    const { parts, photo } = this;
    this.pixels = null;
    parts.unseen.hidden = true;
    parts.image.hidden = false;
    parts.image.alt = photo ? `Your photo ${photo.name}` : "";
    if (photo === null) {
      parts.image.removeAttribute("src");
      return;
    }
    parts.image.src = photo.url;
    const seen = await parts.image.decode().then(() => true, () => false);
    if (photo !== this.photo) {
      return; // another one has been chosen meanwhile
    }
    parts.image.hidden = !seen;
    parts.unseen.hidden = seen;
    this.pixels = seen ? parts.image : null;
    this.size(photo.reply?.image);
  }

  /** Give the attention its photo; one that the browser cannot show has the size of the reply. */
  size(image) {
    const { pixels } = this;
    const width = pixels?.naturalWidth ?? image?.width;
    const height = pixels?.naturalHeight ?? image?.height;
    if (width && height) {
      this.parts.photo.style.setProperty("--ratio", width / height);
      this.attention.use(pixels, width, height);
    }
  }

  /** Lay the attention of a word over the photo; null shows the photo. */
  look(index) {
    const map = this.maps?.[index];
    const { looking } = this.parts;
    if (map) {
      this.attention.show(map.weights);
      looking.textContent = `“${map.word}”: the captioner looked ${placeOf(map.weights)}.`;
    } else {
      this.attention.hide();
      looking.textContent = this.maps?.length ? HINT : "";
    }
  }
}

function alternative({ caption, confidence }) {
  const item = document.createElement("li");
  item.textContent = confidence === null ? caption : `${caption} (${percent(confidence)})`;
  return item;
}
