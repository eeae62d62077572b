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
}
