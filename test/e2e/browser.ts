import { existsSync } from 'node:fs'
import { type Browser, chromium, type Page } from 'playwright-core'

const executablePath = '/usr/bin/chromium'

/** Why there can be no test in a browser here; undefined if there can. */
export const noBrowser = existsSync(executablePath)
  ? undefined
  : 'needs Chromium (Debian package chromium)'

export function openBrowser(): Promise<Browser> {
  return chromium.launch({
    executablePath,
    args: [
      '--no-sandbox',
      '--disable-gpu',
      '--disable-quic',
      '--no-first-run',
      '--disable-background-networking',
      '--disable-component-update',
      '--disable-sync',
    ],
  })
}

/** Logs in for the first time, which asks for a new password. */
export async function logInFirst(
  page: Page,
  url: string,
  first: { user: string; password: string },
  next: string,
): Promise<void> {
  await page.goto(url)
  await page.getByTestId('login-user').fill(first.user)
  await page.getByTestId('login-password').fill(first.password)
  await page.getByTestId('login-submit').click()
  await page.getByTestId('password-current').fill(first.password)
  await page.getByTestId('password-next').fill(next)
  await page.getByTestId('password-again').fill(next)
  await page.getByTestId('password-submit').click()
  await page.getByTestId('active-server').waitFor()
}
