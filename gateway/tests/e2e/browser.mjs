// A real Chromium, until the end of the story. ROOMCAST_CHROMIUM is the browser where it is not /usr/bin/chromium.
import { chromium } from 'playwright-core';

import { scope } from './scope.mjs';

const PATH = process.env.ROOMCAST_CHROMIUM ?? '/usr/bin/chromium';
const FLAGS = [
  '--headless',
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
];

export async function launchBrowser() {
  const browser = await chromium.launch({ executablePath: PATH, args: FLAGS });
  scope().defer(() => browser.close());
  return browser;
}
