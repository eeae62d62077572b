// The PCI root, for machines that have one. MCFG says where its ECAM window is; here it is kept
// from other use.
DefinitionBlock ("", "SSDT", 2, "BELHOP", "BELLPCI ", 1)
{
  Scope (\_SB)
  {
    Device (PCI0)
    {
      Name (_HID, EisaId ("PNP0A08"))
      Name (_CID, EisaId ("PNP0A03"))
      Name (_UID, 0)
      Name (_SEG, 0)
      Name (_BBN, 0)
      Name (_CRS, ResourceTemplate ()
      {
        WordBusNumber (ResourceProducer, MinFixed, MaxFixed, PosDecode, 0, 0, 0, 0, 1)
        IO (Decode16, 0x0CF8, 0x0CF8, 1, 8)
        WordIO (ResourceProducer, MinFixed, MaxFixed, PosDecode, EntireRange,
                0, 0x1000, 0xFFFF, 0, 0xF000)
        DWordMemory (ResourceProducer, PosDecode, MinFixed, MaxFixed, NonCacheable, ReadWrite,
                     0, 0xE0000000, 0xE7FFFFFF, 0, 0x08000000)
      })

      // Devices that come and go: the registers of PciHotplug, one bit for each device.
      OperationRegion (PLUG, SystemIO, 0x0610, 12)
      Field (PLUG, DWordAcc, NoLock, WriteAsZeros)
      {
        UP, 32,
        DOWN, 32,
        EJCT, 32
      }

      // What OSPM may look for or let go, by device number.
      Device (S01) { Name (_ADR, 0x00010000) Name (_SUN, 1) Method (_EJ0, 1) { EJCT = 0x00000002 } }
      Device (S02) { Name (_ADR, 0x00020000) Name (_SUN, 2) Method (_EJ0, 1) { EJCT = 0x00000004 } }
      Device (S03) { Name (_ADR, 0x00030000) Name (_SUN, 3) Method (_EJ0, 1) { EJCT = 0x00000008 } }
      Device (S04) { Name (_ADR, 0x00040000) Name (_SUN, 4) Method (_EJ0, 1) { EJCT = 0x00000010 } }
      Device (S05) { Name (_ADR, 0x00050000) Name (_SUN, 5) Method (_EJ0, 1) { EJCT = 0x00000020 } }
      Device (S06) { Name (_ADR, 0x00060000) Name (_SUN, 6) Method (_EJ0, 1) { EJCT = 0x00000040 } }
      Device (S07) { Name (_ADR, 0x00070000) Name (_SUN, 7) Method (_EJ0, 1) { EJCT = 0x00000080 } }
      Device (S08) { Name (_ADR, 0x00080000) Name (_SUN, 8) Method (_EJ0, 1) { EJCT = 0x00000100 } }
      Device (S09) { Name (_ADR, 0x00090000) Name (_SUN, 9) Method (_EJ0, 1) { EJCT = 0x00000200 } }
      Device (S0A) { Name (_ADR, 0x000A0000) Name (_SUN, 10) Method (_EJ0, 1) { EJCT = 0x00000400 } }
      Device (S0B) { Name (_ADR, 0x000B0000) Name (_SUN, 11) Method (_EJ0, 1) { EJCT = 0x00000800 } }
      Device (S0C) { Name (_ADR, 0x000C0000) Name (_SUN, 12) Method (_EJ0, 1) { EJCT = 0x00001000 } }
      Device (S0D) { Name (_ADR, 0x000D0000) Name (_SUN, 13) Method (_EJ0, 1) { EJCT = 0x00002000 } }
      Device (S0E) { Name (_ADR, 0x000E0000) Name (_SUN, 14) Method (_EJ0, 1) { EJCT = 0x00004000 } }
      Device (S0F) { Name (_ADR, 0x000F0000) Name (_SUN, 15) Method (_EJ0, 1) { EJCT = 0x00008000 } }
      Device (S10) { Name (_ADR, 0x00100000) Name (_SUN, 16) Method (_EJ0, 1) { EJCT = 0x00010000 } }
      Device (S11) { Name (_ADR, 0x00110000) Name (_SUN, 17) Method (_EJ0, 1) { EJCT = 0x00020000 } }
      Device (S12) { Name (_ADR, 0x00120000) Name (_SUN, 18) Method (_EJ0, 1) { EJCT = 0x00040000 } }
      Device (S13) { Name (_ADR, 0x00130000) Name (_SUN, 19) Method (_EJ0, 1) { EJCT = 0x00080000 } }
      Device (S14) { Name (_ADR, 0x00140000) Name (_SUN, 20) Method (_EJ0, 1) { EJCT = 0x00100000 } }
      Device (S15) { Name (_ADR, 0x00150000) Name (_SUN, 21) Method (_EJ0, 1) { EJCT = 0x00200000 } }
      Device (S16) { Name (_ADR, 0x00160000) Name (_SUN, 22) Method (_EJ0, 1) { EJCT = 0x00400000 } }
      Device (S17) { Name (_ADR, 0x00170000) Name (_SUN, 23) Method (_EJ0, 1) { EJCT = 0x00800000 } }
      Device (S18) { Name (_ADR, 0x00180000) Name (_SUN, 24) Method (_EJ0, 1) { EJCT = 0x01000000 } }
      Device (S19) { Name (_ADR, 0x00190000) Name (_SUN, 25) Method (_EJ0, 1) { EJCT = 0x02000000 } }
      Device (S1A) { Name (_ADR, 0x001A0000) Name (_SUN, 26) Method (_EJ0, 1) { EJCT = 0x04000000 } }
      Device (S1B) { Name (_ADR, 0x001B0000) Name (_SUN, 27) Method (_EJ0, 1) { EJCT = 0x08000000 } }
      Device (S1C) { Name (_ADR, 0x001C0000) Name (_SUN, 28) Method (_EJ0, 1) { EJCT = 0x10000000 } }
      Device (S1D) { Name (_ADR, 0x001D0000) Name (_SUN, 29) Method (_EJ0, 1) { EJCT = 0x20000000 } }
      Device (S1E) { Name (_ADR, 0x001E0000) Name (_SUN, 30) Method (_EJ0, 1) { EJCT = 0x40000000 } }
      Device (S1F) { Name (_ADR, 0x001F0000) Name (_SUN, 31) Method (_EJ0, 1) { EJCT = 0x80000000 } }

      // Those of the devices Arg0: look for them (1), or let them go (3).
      Method (TELL, 2, NotSerialized)
      {
        If (Arg0 & 0x00000002) { Notify (S01, Arg1) }
        If (Arg0 & 0x00000004) { Notify (S02, Arg1) }
        If (Arg0 & 0x00000008) { Notify (S03, Arg1) }
        If (Arg0 & 0x00000010) { Notify (S04, Arg1) }
        If (Arg0 & 0x00000020) { Notify (S05, Arg1) }
        If (Arg0 & 0x00000040) { Notify (S06, Arg1) }
        If (Arg0 & 0x00000080) { Notify (S07, Arg1) }
        If (Arg0 & 0x00000100) { Notify (S08, Arg1) }
        If (Arg0 & 0x00000200) { Notify (S09, Arg1) }
        If (Arg0 & 0x00000400) { Notify (S0A, Arg1) }
        If (Arg0 & 0x00000800) { Notify (S0B, Arg1) }
        If (Arg0 & 0x00001000) { Notify (S0C, Arg1) }
        If (Arg0 & 0x00002000) { Notify (S0D, Arg1) }
        If (Arg0 & 0x00004000) { Notify (S0E, Arg1) }
        If (Arg0 & 0x00008000) { Notify (S0F, Arg1) }
        If (Arg0 & 0x00010000) { Notify (S10, Arg1) }
        If (Arg0 & 0x00020000) { Notify (S11, Arg1) }
        If (Arg0 & 0x00040000) { Notify (S12, Arg1) }
        If (Arg0 & 0x00080000) { Notify (S13, Arg1) }
        If (Arg0 & 0x00100000) { Notify (S14, Arg1) }
        If (Arg0 & 0x00200000) { Notify (S15, Arg1) }
        If (Arg0 & 0x00400000) { Notify (S16, Arg1) }
        If (Arg0 & 0x00800000) { Notify (S17, Arg1) }
        If (Arg0 & 0x01000000) { Notify (S18, Arg1) }
        If (Arg0 & 0x02000000) { Notify (S19, Arg1) }
        If (Arg0 & 0x04000000) { Notify (S1A, Arg1) }
        If (Arg0 & 0x08000000) { Notify (S1B, Arg1) }
        If (Arg0 & 0x10000000) { Notify (S1C, Arg1) }
        If (Arg0 & 0x20000000) { Notify (S1D, Arg1) }
        If (Arg0 & 0x40000000) { Notify (S1E, Arg1) }
        If (Arg0 & 0x80000000) { Notify (S1F, Arg1) }
      }
    }

    // The registers belong to nobody else.
    Device (PLUG)
    {
      Name (_HID, EisaId ("PNP0C02"))
      Name (_UID, 2)
      Name (_CRS, ResourceTemplate ()
      {
        IO (Decode16, 0x0610, 0x0610, 1, 12)
      })
    }

    Device (ECAM)
    {
      Name (_HID, EisaId ("PNP0C02"))
      Name (_UID, 1)
      Name (_CRS, ResourceTemplate ()
      {
        Memory32Fixed (ReadWrite, 0xD0000000, 0x00100000)
      })
    }
  }
  Scope (\_GPE)
  {
    // PciHotplug::kGpe
    Method (_E01, 0, NotSerialized)
    {
      \_SB.PCI0.TELL (\_SB.PCI0.UP, 1)
      \_SB.PCI0.TELL (\_SB.PCI0.DOWN, 3)
    }
  }
}
