// The ways by which photos come to the page: dropped, pasted, chosen, taken.

const NOTHING_DROPPED = "That is no file. Save the picture first, then drop the file here.";
const NOTHING_PASTED = "There is no photo in the clipboard.";
const FOLDER = "Folders cannot be dropped here. Choose the photos in it.";

/** Call `take(files)` for each lot of files, and `refuse(message)` for what is none. */
export function watchIntake(take, refuse) {
  const find = (id) => document.getElementById(id);
  for (const [button, input] of [["choose", "files"], ["camera", "shot"]]) {
    find(button).addEventListener("click", () => find(input).click());
    find(input).addEventListener("change", ({ target }) => {
      const files = [...target.files];
      target.value = ""; // the same file may be chosen again
      offer(files, take, refuse);
    });
  }
  watchDrops(take, refuse);
  document.addEventListener("paste", (event) => {
    if (!isField(event.target)) {
      offer([...event.clipboardData.files], take, () => refuse(NOTHING_PASTED));
    }
  });
}

function watchDrops(take, refuse) {
  const mark = (dragging) => document.body.classList.toggle("dragging", dragging);
  document.addEventListener("dragover", (event) => {
    event.preventDefault(); // the browser would leave the page and show the file
    mark(true);
  });
  document.addEventListener("dragleave", (event) => {
    if (event.relatedTarget === null) { // the pointer has left the window
      mark(false);
    }
  });
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    mark(false);
    const entries = [...event.dataTransfer.items].map((item) => item.webkitGetAsEntry?.());
    const files = [...event.dataTransfer.files].filter((_, i) => !entries[i]?.isDirectory);
    const message = entries.some((entry) => entry?.isDirectory) ? FOLDER : NOTHING_DROPPED;
    offer(files, take, () => refuse(message));
  });
}

function offer(files, take, refuse) {
  if (files.length) {
    take(files);
  } else {
    refuse("");
  }
}

function isField(element) {
  return element.matches?.("input, textarea, select") ?? false; // the document is no element
}
