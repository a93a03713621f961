import { localStorageColorSchemeManager, MantineProvider } from '@mantine/core'
import { Notifications } from '@mantine/notifications'
import { QueryClientProvider } from '@tanstack/react-query'
import { RouterProvider } from '@tanstack/react-router'
import { StrictMode } from 'react'
import { createRoot } from 'react-dom/client'
import { codeIn } from './api/hand-over.ts'
import { ApiProvider } from './api/hooks.ts'
import { createBrowserApi } from './api/setup.ts'
import { fetchAllPages, router } from './router.tsx'
import { theme } from './theme.ts'
import './styles/index.css'

const code = codeIn(location.hash)
// It is good once: a bookmark or a copied address must not carry it.
if (code !== undefined) history.replaceState(history.state, '', location.pathname + location.search)
const { api, queries } = createBrowserApi(location, code)
const colorScheme = localStorageColorSchemeManager({ key: 'keepwatch-scheme' })

createRoot(document.getElementById('root')!).render(
  <StrictMode>
    <MantineProvider theme={theme} defaultColorScheme="auto" colorSchemeManager={colorScheme}>
      <QueryClientProvider client={queries}>
        <ApiProvider value={api}>
          <Notifications position="bottom-right" limit={4} />
          <RouterProvider router={router} />
        </ApiProvider>
      </QueryClientProvider>
    </MantineProvider>
  </StrictMode>,
)

const whenIdle = window.requestIdleCallback ?? ((action: () => void) => setTimeout(action, 1500))
whenIdle(() => void fetchAllPages())
