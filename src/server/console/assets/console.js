// The console's own script: lists that keep themselves up to date, and selecting all of a page. Pages work without it.
(() => {
  'use strict';

  // At once: a dialog that opens meanwhile gives the focus back to where it found it.
  document.querySelector('[autofocus]')?.focus();

  // On a phone the pages are a line that scrolls.
  document.querySelector('nav [aria-current]')?.scrollIntoView({ inline: 'center', block: 'nearest' });

  const all = document.getElementById('all');
  const boxes = () => [...document.querySelectorAll('#lines input[name="id"]')];
  const count = () => {
    const chosen = boxes().filter((box) => box.checked).length;
    all.checked = chosen > 0 && chosen === boxes().length;
    all.indeterminate = chosen > 0 && !all.checked;
  };
  if (all) {
    all.hidden = false;
    all.addEventListener('change', () => boxes().forEach((box) => { box.checked = all.checked; }));
    document.addEventListener('change', (event) => event.target.name === 'id' && count());
  }

  // The one place where text becomes markup: a page of this console, asked for by this script.
  const policy = window.trustedTypes?.createPolicy('tenure', { createHTML: (html) => html });
  const parse = (html) => new DOMParser().parseFromString(policy ? policy.createHTML(html) : html, 'text/html');

  // A property: what it would do shows while the value is typed.
  const trial = document.getElementById('try');
  const preview = document.getElementById('preview');
  // To listen to all of it at every key would be too much: a line says what comes out.
  const said = document.getElementById('said');
  let question;
  let typing;
  const look = async () => {
    const fields = new URLSearchParams(new FormData(trial));
    const mine = new AbortController();
    question = mine;
    try {
      const answer = await fetch(`${trial.action}?${fields}`, { headers: { 'X-Tenure-Client': '1' }, signal: mine.signal });
      if (answer.status === 401) window.Tenure?.ask();
      const fresh = answer.ok && parse(await answer.text()).getElementById('preview');
      if (question !== mine) return;
      if (fresh) {
        // Who is typing stays there.
        fresh.querySelector('[autofocus]')?.removeAttribute('autofocus');
        preview.replaceChildren(...fresh.childNodes);
        said.textContent = [...preview.querySelectorAll('h2, #told')].map((part) => part.textContent).join(': ');
      }
      if (preview.querySelector('#problem')) trial.elements.value.setAttribute('aria-invalid', 'true');
      else trial.elements.value.removeAttribute('aria-invalid');
    } catch {
      // The button asks the same, and says what is wrong.
    }
  };
  trial?.addEventListener('input', () => {
    question?.abort();
    // What was shown is of another value, and its button must not set that.
    preview.replaceChildren();
    said.textContent = '';
    clearTimeout(typing);
    if (trial.checkValidity()) typing = setTimeout(look, 300);
  });

  const pause = document.getElementById('pause');
  if (!pause) return;

  const EVERY = 5000; // idle times grow without any event
  const GATHER = 150; // what happens together is shown together
  const LATE = 'The node does not answer. What is shown is from before, and is asked for again.';
  let warning;
  let stream;
  let timer;
  let due = Infinity;
  let asked = -Infinity;
  let asking = false;
  let missed = false;
  let paused = false;

  // Makes what is shown like what is fresh, piece by piece: what has the focus, is selected or unfolded stays.
  const morph = (shown, fresh) => {
    if (shown.isEqualNode(fresh)) return;
    if (shown.nodeName !== fresh.nodeName || shown.nodeType !== Node.ELEMENT_NODE) {
      shown.replaceWith(fresh);
      return;
    }
    for (const name of shown.getAttributeNames()) {
      if (!fresh.hasAttribute(name) && name !== 'open') shown.removeAttribute(name);
    }
    for (const name of fresh.getAttributeNames()) shown.setAttribute(name, fresh.getAttribute(name));
    const old = [...shown.childNodes];
    const parts = [...fresh.childNodes];
    parts.forEach((part, at) => (old[at] ? morph(old[at], part) : shown.append(part)));
    old.slice(parts.length).forEach((part) => part.remove());
  };

  const renew = (old, fresh) => {
    [...fresh.cells].forEach((cell, at) => {
      if (!old.cells[at].classList.contains('check')) morph(old.cells[at], cell);
    });
  };

  const merge = (lines, fresh) => {
    const shown = new Map([...lines.rows].map((row) => [row.id, row]));
    for (const row of [...lines.rows].filter((row) => !fresh.rows.namedItem(row.id))) {
      const next = row.nextElementSibling || row.previousElementSibling;
      // Who was on a line that goes away is not thrown back to the top of the page.
      if (row.contains(document.activeElement)) next?.querySelector('input, button, a')?.focus();
      row.remove();
    }
    let before = lines.rows[0] || null;
    for (const row of [...fresh.rows]) {
      const old = shown.get(row.id);
      if (old) renew(old, row);
      else row.classList.add('fresh');
      if (old && old === before) before = before.nextElementSibling;
      else lines.insertBefore(old || row, before);
    }
  };

  // What is shown may be old only if it says so.
  const warn = (text) => {
    if (text && !warning) {
      warning = Object.assign(document.createElement('p'), { className: 'note bad' });
      warning.setAttribute('role', 'status');
      document.querySelector('main').prepend(warning);
    }
    if (text) warning.textContent = text;
    else warning?.remove();
    if (!text) warning = null;
  };

  const update = async () => {
    due = Infinity;
    if (asking || paused || document.hidden) return;
    asking = true;
    asked = performance.now();
    try {
      const answer = await fetch(location.href, { headers: { 'X-Tenure-Client': '1' } });
      if (answer.status === 401) window.Tenure?.ask();
      if (answer.status === 403) location.reload();
      if (!answer.ok) warn(LATE);
      else if (!paused) {
        warn();
        // A node that drained ended the stream for good; another one answers by now, or this one is live again.
        if (stream?.readyState === EventSource.CLOSED) watch();
        const page = parse(await answer.text());
        for (const part of document.querySelectorAll('[data-live]')) {
          const fresh = page.getElementById(part.id);
          if (!fresh) continue;
          if (part.rows) merge(part, fresh);
          else morph(part, fresh);
        }
        if (all) count();
      }
    } catch {
      warn(LATE);
    }
    asking = false;
    soon(missed ? GATHER : EVERY);
    missed = false;
  };

  // The earlier of what was asked for, but not more than twice a second.
  const soon = (ms) => {
    const now = performance.now();
    const at = Math.max(now + ms, asked + 500);
    if (at >= due) return;
    clearTimeout(timer);
    due = at;
    timer = setTimeout(update, at - now);
  };

  const heard = () => (asking ? missed = true : soon(GATHER));

  const watch = () => {
    stream = new EventSource('/console/live');
    for (const type of ['session_created', 'session_ended', 'property_set', 'property_removed']) {
      stream.addEventListener(type, heard);
    }
  };

  const listen = () => {
    stream?.close();
    stream = null;
    if (paused || document.hidden) return;
    watch();
    update();
  };

  pause.hidden = false;
  pause.addEventListener('click', () => {
    paused = !paused;
    pause.setAttribute('aria-pressed', paused);
    listen();
  });
  document.addEventListener('visibilitychange', listen);
  listen();
})();
