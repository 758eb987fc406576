// The status page in a browser, before, during and after a failover: on a desk and on a phone, light and dark.
import assert from 'node:assert/strict';
import { chromium } from 'playwright-core';

const page_address = process.env.STATUS_PAGE;
const pictures = process.env.PICTURES;
const patience = 90_000;
const passed = (name) => console.log('ok', name);

const VIEWS = [
  { name: 'desk-light', colorScheme: 'light', viewport: { width: 1280, height: 900 } },
  { name: 'desk-dark', colorScheme: 'dark', viewport: { width: 1280, height: 900 } },
  { name: 'phone-light', colorScheme: 'light', viewport: { width: 360, height: 740 } },
  { name: 'phone-dark', colorScheme: 'dark', viewport: { width: 360, height: 740 } },
];

const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM,
  args: ['--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage'],
  timeout: patience,
});

const faults = [];
async function open({ name, colorScheme, viewport }) {
  const context = await browser.newContext({ colorScheme, viewport });
  context.setDefaultTimeout(patience);
  const page = await context.newPage();
  page.on('pageerror', (error) => faults.push(`${name}: ${error}`));
  page.on('request', (request) => {
    if (!request.url().startsWith(page_address)) faults.push(`${name} asks ${request.url()}`);
  });
  await page.goto(page_address);
  await page.waitForFunction(() => document.getElementById('state').textContent === 'ready');
  // What nodes say of themselves comes with the next look.
  await page.waitForFunction(() => document.querySelectorAll('#nodes tbody tr').length === 6
    && [...document.querySelectorAll('#nodes tbody tr td:last-child')].some((cell) => cell.textContent !== '–'));
  return { name, page };
}

async function keep({ name, page }, moment) {
  if (pictures) await page.screenshot({ path: `${pictures}/${moment}-${name}.png`, fullPage: true });
}

const views = await Promise.all(VIEWS.map(open));
for (const view of views) {
  const { name, page } = view;
  const seen = await page.evaluate(() => ({
    shards: document.querySelectorAll('#shards > div').length,
    tiles: document.querySelectorAll('.tile').length,
    charts: document.querySelectorAll('svg path').length,
    back: getComputedStyle(document.body).backgroundColor,
    front: getComputedStyle(document.body).color,
    wide: document.documentElement.scrollWidth - document.documentElement.clientWidth,
    // What a finger or an eye reaches only by scrolling sideways must say so by scrolling in a box of its own.
    cut: [...document.querySelectorAll('main > *, section > :not(.scroll)')]
      .filter((one) => one.getBoundingClientRect().right > innerWidth + 1).map((one) => one.id || one.tagName),
    narrow: [...document.querySelectorAll('.tile b')].filter((one) => one.scrollWidth > one.clientWidth)
      .map((one) => one.textContent),
    painted: (() => {
      const canvas = document.getElementById('slots');
      const pixels = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;
      const colours = new Set();
      for (let at = 0; at < 16384 * 4; at += 4) colours.add(pixels.slice(at, at + 4).join());
      return colours.size;
    })(),
  }));
  assert.equal(seen.shards, 3, name);
  assert.equal(seen.painted, 3, `${name}: colours of the slot map`);
  assert.ok(seen.tiles >= 10 && seen.charts >= 7, name);
  assert.equal(seen.wide, 0, `${name} scrolls sideways`);
  assert.deepEqual(seen.cut, [], `${name} cuts something off`);
  assert.deepEqual(seen.narrow, [], `${name} has tiles that are too narrow`);
  const light = (colour) => colour.match(/\d+/g).slice(0, 3).reduce((sum, part) => sum + Number(part), 0) / 765;
  assert.equal(light(seen.back) > 0.5, name.endsWith('light'), `${name}: ${seen.back}`);
  assert.ok(Math.abs(light(seen.back) - light(seen.front)) > 0.6, `${name}: little contrast`);
  await keep(view, 'before');
}
passed('the page');

// Whoever started this kills a primary now.
console.log('watching');
await Promise.all(views.map(async (view) => {
  const { page } = view;
  await page.waitForFunction(() => /took over from/.test(document.getElementById('events').textContent));
  await page.waitForFunction(() => document.getElementById('state').textContent === 'ready'
    && [...document.querySelectorAll('#nodes tbody tr')]
      .some((row) => /failed/.test(row.textContent) && !/connected/.test(row.textContent)));
  await keep(view, 'after');
}));
passed('the failover');

assert.deepEqual(faults, []);
passed('nothing from elsewhere, no fault');
await browser.close();
