// Tenure for pages: how long the session lasts, more time, and what its end demands. See docs/BROWSER.md.
(() => {
  'use strict';
  const data = document.currentScript?.dataset || {};
  const base = (data.base || '').replace(/\/+$/, '');
  const say = (name, text) => data[name] || text;
  const ended = say('endedTitle', 'Your session has ended');
  const close = [say('close', 'Close')];
  const channel = window.BroadcastChannel ? new BroadcastChannel('tenure' + base) : null;

  let live; // what the store said last
  let end = 0; // by this machine's clock
  let promptAt = Infinity;
  let dismissed, prompting, timer, noticed;
  let asked = 0;

  const again = (ms) => {
    clearTimeout(timer);
    timer = setTimeout(tick, Math.max(250, Math.min(60000, ms)));
  };

  // Only spans are taken from the answer: this machine's clock may be wrong. Seconds are rounded down.
  const learn = (state, at = Date.now()) => {
    // Another window signed out and left a guest.
    if (live?.session.user && !state.session.user) return over({ reason: 'signed_out' });
    // Answers overtake each other; a session's activity only moves forward.
    const moved = (a) => Date.parse(a.session.last_activity_at);
    if (!live || live.session.id !== state.session.id || moved(state) >= moved(live)) {
      live = state;
      end = at + state.seconds_left * 1000 + 1000;
      promptAt = state.prompt_at ? end - (Date.parse(state.session.expires_at) - Date.parse(state.prompt_at)) : Infinity;
      if (state.prompt) promptAt = Math.min(promptAt, at);
      notice(state.maintenance_at);
    }
    show();
  };

  // Said once in a tab, however many pages are opened in it.
  const notice = (at = '') => {
    try {
      noticed = sessionStorage.getItem('tenure-maintenance' + base) || '';
      sessionStorage.setItem('tenure-maintenance' + base, at);
    } catch { /* once a page, then */ }
    if (at && at !== noticed) {
      const end = new Date(at);
      const today = end.toDateString() === new Date().toDateString();
      dialog('tenure-maintenance', say('maintenanceTitle', 'Maintenance'), [close]).text(
        say('maintenanceText', 'Your session ends at {time}.').replace('{time}', today ? end.toLocaleTimeString() : end.toLocaleString()));
    }
    noticed = at;
  };

  const share = (message) => channel?.postMessage(message);

  const show = () => {
    const now = Date.now();
    if (live && promptAt <= now) {
      const left = Math.max(0, Math.ceil((end - now) / 1000));
      if (!prompting && !dismissed) {
        prompting = dialog('tenure-prompt', say('title', 'Extend your session'),
          [[say('extend', 'Extend'), extend]], () => { prompting = null; dismissed = live && promptAt <= Date.now(); });
      }
      if (prompting) prompting.text(say('text', 'Your session ends in {seconds} seconds.').replace('{seconds}', left));
      again(prompting || end <= now ? 1000 : Math.min(10000, end - now));
    } else {
      dismissed = false;
      if (prompting) prompting.close();
      if (live) again(Math.min(promptAt, end) - now);
    }
  };

  // Others may have moved the end.
  const tick = () => (prompting && Date.now() < end && Date.now() - asked < 10000 ? show() : ask());

  const ask = async (path = 'session', method, body) => {
    clearTimeout(timer);
    asked = Date.now();
    try {
      const answer = await fetch(base + '/v1/browser/' + path, {
        method, body, headers: { 'X-Tenure-Client': '1', ...(body && { 'Content-Type': 'application/json' }) }
      });
      if (answer.ok) {
        const state = await answer.json();
        if (state.seconds_left === undefined) return state;
        learn(state);
        share({ state, at: Date.now() });
        return state;
      }
      if (answer.status === 401) {
        over(await answer.json());
        return null;
      }
    } catch { /* away: that says nothing about the session */ }
    show();
    again(5000);
    return null;
  };

  const extend = async () => {
    const state = await ask('extend', 'POST');
    dismissed = false;
    if (live && !state) ask();
    return state;
  };

  const login = (problem) => {
    const url = new URL(data.loginUrl || '/login', location);
    url.searchParams.set('reason', problem.reason || 'unknown_token');
    return url.href;
  };

  // A page that never had a session is left alone.
  const over = (problem) => {
    if (!live) return false;
    forget();
    share({ over: true });
    if (!document.dispatchEvent(new CustomEvent('tenure:ended', { detail: problem, cancelable: true }))) return false;
    const signIn = () => location.assign(login(problem));
    const action = problem.action || 'redirect_to_login';
    if (action === 'redirect_to_login') signIn();
    if (action === 'prompt_to_continue') {
      dialog('tenure-ended', ended, [[say('signIn', 'Sign in'), signIn], close]).text(say('endedText', 'What you did last was not done. Sign in to go on.'));
    }
    return true;
  };

  const forget = () => {
    clearTimeout(timer);
    live = null;
    promptAt = Infinity;
    show();
  };

  // Asks "continue?", waits for a sign-in in a pop-up; true when the same user is back.
  const resumed = (problem, user) => new Promise((resolve) => {
    const wait = async () => {
      const popup = window.open(login(problem), 'tenure-login', 'popup,width=480,height=640');
      while (popup) {
        const closed = popup.closed;
        const state = await ask();
        if (state && state.session.kind === 'user') {
          popup.close();
          return resolve(state.session.user === user);
        }
        if (closed) break;
        await new Promise((next) => setTimeout(next, 1000));
      }
      resolve(false);
    };
    let chosen;
    dialog('tenure-continue', ended, [[say('continue', 'Continue'), () => { chosen = true; wait(); }], close],
      () => chosen || resolve(false)).text(say('continueText', 'Sign in to go on? What you did last is then sent again.'));
  });

  // Text and buttons; styled by class.
  const dialog = (kind, title, buttons, closed) => {
    const box = document.createElement('dialog');
    const add = (tag, name, textContent) =>
      box.appendChild(Object.assign(document.createElement(tag), { className: 'tenure-' + name, textContent }));
    const set = (node, name, value) => node.setAttribute(name, value);
    box.className = 'tenure-dialog ' + kind;
    set(box, 'role', 'alertdialog');
    add('h2', 'title', title).id = kind + '-title';
    const text = add('p', 'text', '');
    text.id = kind + '-text';
    if (kind === 'tenure-prompt') set(text, 'role', 'timer');
    set(box, 'aria-labelledby', kind + '-title');
    set(box, 'aria-describedby', kind + '-text');
    for (const [label, act] of buttons) {
      const button = add('button', 'button', label);
      button.type = 'button';
      button.addEventListener('click', () => { act?.(); box.close(); });
    }
    box.onclose = () => { box.remove(); closed?.(); };
    document.body.append(box);
    box.showModal();
    return { text: (words) => { text.textContent = words; }, close: () => box.close() };
  };

  // fetch for what a page does by itself, marked as ajax.
  const marked = async (input, options) => {
    const request = new Request(input, options);
    const { headers } = request;
    if (new URL(request.url).origin !== location.origin) return fetch(request);
    if (!headers.has('X-Tenure-Activity')) headers.set('X-Tenure-Activity', 'ajax');
    const answer = await fetch(request.clone());
    if (answer.status !== 401) return answer;
    const told = (name) => answer.headers.get(name) || '';
    let problem = { action: told('X-Tenure-Action'), reason: told('X-Tenure-Reason') };
    if (!problem.action && told('Content-Type').includes('problem')) problem = await answer.clone().json().catch(() => ({}));
    if (!problem.action) return answer;
    const user = live?.session.user;
    return over(problem) && problem.action === 'resubmit_after_login' && user && await resumed(problem, user)
      ? fetch(request) : answer;
  };

  const signOut = async () => {
    const left = await ask('sign-out', 'POST');
    if (left) forget();
    share({ over: true });
    return left;
  };

  if (channel) channel.onmessage = ({ data: { state, at } }) => (state ? learn(state, at) : live && ask());
  document.addEventListener('visibilitychange', () => document.hidden || ask());
  window.Tenure = {
    ask: () => ask(), extend, signOut, fetch: marked,
    report: (activity) => ask('check', 'POST', JSON.stringify({ activity }))
  };
  ask();
})();
