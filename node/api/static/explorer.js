// Sends the explorer's forms as JSON; everything that only reads works without this file.
"use strict";

function cookie(name) {
  const found = document.cookie.split("; ").find((part) => part.startsWith(name + "="));
  return found === undefined ? "" : found.slice(name.length + 1);
}

function valueOf(control) {
  switch (control.dataset.kind) {
    case "number": return Number(control.value);
    case "boolean": return control.value === "true";
    case "json": return JSON.parse(control.value);
    default: return control.value;
  }
}

function bodyOf(form) {
  const body = {};
  for (const control of form.elements) {
    if (!control.name) continue;
    const before = control.dataset.before;
    if (control.value === before) continue;
    body[control.name] = control.value === "" ? null : valueOf(control);
  }
  return body;
}

function show(output, text, isBad, url) {
  output.replaceChildren();
  output.classList.toggle("bad", isBad);
  const pre = document.createElement("pre");
  pre.textContent = text;
  output.append(pre);
  if (url) {
    const link = document.createElement("a");
    link.href = url;
    link.textContent = "open it";
    output.append(link);
  }
}

async function send(event) {
  event.preventDefault();
  const form = event.currentTarget;
  const output = form.querySelector("output");
  const method = form.dataset.method;
  if (method === "DELETE" && !window.confirm("Delete this?")) return;
  try {
    const headers = { Accept: "application/json", "Content-Type": "application/json", "X-API-CSRF": cookie("CSRF") };
    const body = method === "DELETE" ? undefined : JSON.stringify(bodyOf(form));
    const url = new URL(form.dataset.url);
    // The page's own origin: behind a proxy the API may know itself under another name.
    const answer = await fetch(url.pathname + url.search, { method, headers, body });
    const found = await answer.json();
    if (!answer.ok) {
      const field = found.fieldName ? found.fieldName + ": " : "";
      show(output, `${found.status} ${found.code}\n${field}${found.detail || ""}`, true);
    } else if (answer.status === 201 || found.type !== document.body.dataset.type) {
      // Some answers show a secret once: they stay on the page until it is left.
      show(output, JSON.stringify(found, null, 2), false, found.links && found.links.self);
    } else {
      window.location.reload();
    }
  } catch (error) {
    show(output, String(error), true);
  }
}

function start() {
  for (const form of document.querySelectorAll("form.send")) {
    for (const control of form.elements) control.dataset.before = control.value;
    form.addEventListener("submit", send);
  }
  for (const form of document.querySelectorAll("form[method=get]")) {
    form.addEventListener("submit", () => {
      for (const control of form.elements) if (control.name && control.value === "") control.disabled = true;
    });
  }
}

start();
