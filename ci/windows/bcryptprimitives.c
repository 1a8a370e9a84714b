// A bcryptprimitives.dll for Wine 8, which lacks it. Go programs take random bytes from it.
#include <windows.h>
#include <ntsecapi.h>

// ProcessPrng fills a buffer with random bytes. RtlGenRandom, which is SystemFunction036 of advapi32.dll, takes 32 bits of length.
__declspec(dllexport) BOOL WINAPI ProcessPrng(BYTE *data, SIZE_T size)
{
	while (size > 0) {
		ULONG part = size < 0x10000000 ? (ULONG)size : 0x10000000;
		if (!RtlGenRandom(data, part))
			return FALSE;
		data += part;
		size -= part;
	}
	return TRUE;
}
