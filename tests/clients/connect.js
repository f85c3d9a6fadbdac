// Fills a table as an Express application does, with the store of connect-pg-simple itself.
//
// Run by scripts/test-import.sh: NODE_PATH, SOURCE_URL, ROWS and COOKIE_SECRET in the environment. Prints a cookie as the
// application sees it.
'use strict';
const { createHash } = require('crypto');
const session = require('express-session');
const { sign } = require('cookie-signature');
const { Pool } = require('pg');
const Store = require('connect-pg-simple')(session);

const rows = Number(process.env.ROWS);
const pool = new Pool({ connectionString: process.env.SOURCE_URL, max: 8 });
const store = new Store({ pool, createTableIfMissing: true, pruneSessionInterval: false });
const id = (n) => createHash('sha256').update(`session ${n}`).digest('base64url').slice(0, 32);
const data = (n) => ({
    cookie: { originalMaxAge: 86400000, expires: new Date(Date.now() + 86400000).toISOString(), httpOnly: true, path: '/' },
    passport: { user: `user.${n % 1000}` },
    cart: [n, n + 1],
});
const set = (n) => new Promise((done, fail) => store.set(id(n), data(n), (error) => (error ? fail(error) : done())));

(async () => {
    await set(0);
    let next = 1;
    const lane = async () => {
        while (next < rows) {
            const n = next;
            next += 1;
            await set(n);
        }
    };
    await Promise.all(Array.from({ length: 32 }, lane));
    await store.close();
    await pool.end();
    console.log(`s:${sign(id(rows - 1), process.env.COOKIE_SECRET)}`);
})();
