// Sets the colour scheme before the first paint; a file because the policy allows no inline script.
;(() => {
  let chosen = null
  try {
    chosen = localStorage.getItem('keepwatch-scheme')
  } catch {
    // Storage may be forbidden; then the system's scheme holds.
  }
  const dark =
    chosen === 'dark' || (chosen !== 'light' && matchMedia('(prefers-color-scheme: dark)').matches)
  document.documentElement.setAttribute('data-mantine-color-scheme', dark ? 'dark' : 'light')
})()
