// Tenure for pages: asks how long the session lasts, offers more time, does what its end demands. See docs/BROWSER.md.
(() => {
  'use strict';
  const data = document.currentScript ? document.currentScript.dataset : {};
  const base = (data.base || '').replace(/\/+$/, '');
  const say = (name, text) => data[name] || text;
  const ended = say('endedTitle', 'Your session has ended');
  const close = [say('close', 'Close')];
  const channel = 'BroadcastChannel' in window ? new BroadcastChannel('tenure' + base) : null;

  let live = null; // what the store said last
  let end = 0; // by this machine's clock
  let promptAt = Infinity;
  let dismissed = false;
  let prompting = null;
  let timer = 0;
  let asked = 0;

  const again = (ms) => {
    clearTimeout(timer);
    timer = setTimeout(tick, Math.max(250, Math.min(60000, ms)));
  };

  // Only spans are taken from the answer: this machine's clock may be wrong. Seconds are rounded down.
  const learn = (state, at = Date.now()) => {
    // Another window signed out and left a guest.
    if (live && live.session.user && !state.session.user) return over({ reason: 'signed_out' });
    // Answers overtake each other; a session's activity only moves forward.
    const moved = ({ session }) => Date.parse(session.last_activity_at);
    if (!live || live.session.id !== state.session.id || moved(state) >= moved(live)) {
      live = state;
      end = at + state.seconds_left * 1000 + 1000;
      promptAt = state.prompt_at ? end - (Date.parse(state.session.expires_at) - Date.parse(state.prompt_at)) : Infinity;
      if (state.prompt) promptAt = Math.min(promptAt, at);
    }
    show();
  };

  const share = (message) => channel && channel.postMessage(message);

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

  // The dialog counts each second and asks now and then: others may have moved the end.
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
    const url = new URL(data.loginUrl || '/login', location.href);
    url.searchParams.set('reason', problem.reason || 'unknown_token');
    return url.href;
  };

  // A page that never had a session, such as the sign-in page, is left alone.
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
      return resolve(false);
    };
    let chosen = false;
    dialog('tenure-continue', ended, [[say('continue', 'Continue'), () => { chosen = true; wait(); }], close],
      () => chosen || resolve(false)).text(say('continueText', 'Sign in to go on? What you did last is then sent again.'));
  });

  // Text and buttons; styled by class.
  const dialog = (kind, title, buttons, closed) => {
    const element = document.createElement('dialog');
    const add = (tag, name, text) => {
      const child = document.createElement(tag);
      child.className = 'tenure-' + name;
      child.textContent = text;
      return element.appendChild(child);
    };
    element.className = 'tenure-dialog ' + kind;
    element.setAttribute('role', 'alertdialog');
    add('h2', 'title', title).id = kind + '-title';
    const text = add('p', 'text', '');
    text.id = kind + '-text';
    if (kind === 'tenure-prompt') text.setAttribute('role', 'timer');
    element.setAttribute('aria-labelledby', kind + '-title');
    element.setAttribute('aria-describedby', kind + '-text');
    for (const [label, act] of buttons) {
      const button = add('button', 'button', label);
      button.type = 'button';
      button.addEventListener('click', () => { if (act) act(); element.close(); });
    }
    element.addEventListener('close', () => { element.remove(); if (closed) closed(); });
    document.body.append(element);
    element.showModal();
    return { text: (words) => { text.textContent = words; }, close: () => element.close() };
  };

  // fetch for what a page does by itself, marked as ajax.
  const marked = async (input, options) => {
    const request = new Request(input, options);
    if (new URL(request.url).origin !== location.origin) return fetch(request);
    if (!request.headers.has('X-Tenure-Activity')) request.headers.set('X-Tenure-Activity', 'ajax');
    const answer = await fetch(request.clone());
    if (answer.status !== 401) return answer;
    let problem = { action: answer.headers.get('X-Tenure-Action'), reason: answer.headers.get('X-Tenure-Reason') };
    const type = answer.headers.get('Content-Type') || '';
    if (!problem.action && type.includes('problem')) problem = await answer.clone().json().catch(() => ({}));
    if (!problem.action) return answer;
    const user = live && live.session.user;
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
  document.addEventListener('visibilitychange', () => document.visibilityState === 'visible' && ask());
  window.Tenure = {
    ask: () => ask(), extend, signOut, fetch: marked,
    report: (activity) => ask('check', 'POST', JSON.stringify({ activity }))
  };
  ask();
})();
