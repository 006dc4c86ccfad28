// Shows every few seconds how things stand now, without a new page: the place and the focus of its reader stay.
"use strict";
const SECONDS = 5;
const PATIENCE = 10;

async function renew() {
  try {
    const limit = AbortSignal.timeout(PATIENCE * 1000);
    const answer = await fetch(location.href, { cache: "no-store", signal: limit });
    if (!answer.ok) throw new Error(answer.statusText);
    const now = new DOMParser().parseFromString(await answer.text(), "text/html");
    for (const part of ["header", "main"]) {
      const shown = document.querySelector(part);
      const wanted = now.querySelector(part);
      if (shown.innerHTML === wanted.innerHTML) continue;
      const focus = document.activeElement?.id;
      shown.replaceChildren(...wanted.childNodes);
      if (focus) document.getElementById(focus)?.focus({ preventScroll: true });
    }
    document.title = now.title;
    document.body.classList.remove("away");
  } catch {
    document.body.classList.add("away");
  }
}

async function keepOn() {
  if (!document.hidden) await renew();
  setTimeout(keepOn, SECONDS * 1000);
}

setTimeout(keepOn, SECONDS * 1000);
