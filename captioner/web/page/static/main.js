// The page: photos come in, captions are shown.

import { Album, State } from "./album.js";
import { Gallery, progressWords } from "./gallery.js";
import { watchIntake } from "./intake.js";
import { Options } from "./options.js";
import { Server } from "./server.js";
import { copy, download, toCsv } from "./table.js";
import { View } from "./view.js";

const find = (id) => document.getElementById(id);
const options = new Options(find("options"));
const server = new Server(Number(find("page").dataset.maxBytes), askForToken);
const album = new Album(server, () => options.headers(), changed);
const gallery = new Gallery(show);
const view = new View();
let shown = null; // the photo that is shown large

function take(files) {
  refuse("");
  const [first] = album.add(files);
  show(first);
  gallery.show(album, shown);
}

function refuse(message) {
  find("refusal").textContent = message;
}

function show(photo) {
  shown = photo;
  document.body.classList.toggle("with-photos", photo !== null);
  view.show(photo);
  gallery.choose(photo);
}

/** Show what has changed about a photo. */
function changed(photo) {
  gallery.update(photo);
  gallery.showProgress(album);
  if (photo === shown) {
    view.show(photo);
  }
  announce(photo);
}

/** Say what a screen reader should read out. */
function announce(photo) {
  const total = album.photos.length;
  const done = album.count(State.DONE), failed = album.count(State.FAILED);
  const words = [];
  if (photo === shown && photo.state === State.DONE) {
    words.push(`Caption: ${photo.reply.caption}.`, `${find("confidence-words").textContent}.`);
  } else if (photo === shown && photo.problem) {
    words.push(photo.problem.message);
  }
  if (total > 1 && done + failed === total) {
    words.push(`${progressWords(total, done, failed)}.`);
  }
  if (words.length) {
    find("announcement").textContent = words.join(" ");
  }
}

/** Show the field for a token, and return a promise of what is entered. */
function askForToken(refused) {
  const form = find("token-form"), field = find("token");
  find("token-form-refused").hidden = !refused;
  form.hidden = false;
  field.focus();
  return new Promise((resolve) => {
    form.onsubmit = (event) => {
      event.preventDefault();
      form.hidden = true;
      resolve(field.value);
      field.value = "";
    };
  });
}

async function copyCaption() {
  const said = await copy(shown.reply.caption).then(() => "Copied", () => "It could not be copied");
  find("announcement").textContent = find("copy").textContent = said;
  setTimeout(() => (find("copy").textContent = "Copy the caption"), 2000);
}

function startOver() {
  album.clear();
  gallery.clear();
  show(null);
  gallery.show(album, null);
  find("choose").focus();
}

watchIntake(take, refuse);
find("copy").addEventListener("click", copyCaption);
find("again").addEventListener("click", () => album.caption([shown]));
find("download").addEventListener("click", () => {
  download(toCsv(album.photos), "captions.csv", "text/csv");
});
find("clear").addEventListener("click", startOver);
find("options").addEventListener("submit", (event) => {
  event.preventDefault();
  album.captionAll();
});
server.describe().then((description) => description && options.describe(description.options));
